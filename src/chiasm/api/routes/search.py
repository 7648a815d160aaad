"""``POST /v1/vector_stores/{id}/search``: text, picture, sound or video against all of them."""

from typing import Any

from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.forms import read_items
from chiasm.api.model import Embedded, describe, embed, served, truncation, usage
from chiasm.api.paging import Position
from chiasm.api.parts import ItemSpec, parse_inputs
from chiasm.api.relating import modality_of
from chiasm.api.schemas.stores import SearchBody
from chiasm.api.validation import expected, missing
from chiasm.errors import Conflict, InvalidInput
from chiasm.library import Hit
from chiasm.preprocess import ModelDescription
from chiasm.stores import StoreRecord
from chiasm.stores.segments import OTHER_REVISION

blueprint = Blueprint("search", __name__)
MAX_QUERIES = 64


@blueprint.post("/v1/vector_stores/<store_id>/search")
def search(store_id: str) -> Response:
    """The files that fit best, each at its best place."""
    body, wanted = _read()
    store = context().library.get_store(store_id).store  # one that is not there costs no inference
    try:
        return _search(store, body, wanted)
    except Conflict as conflict:
        # the store may have got another model since it was looked at
        now = context().library.get_store(store.id).store
        if conflict.code != OTHER_REVISION or body.model is not None or now.revision == store.revision:
            raise
        return _search(now, body, wanted)


def _search(store: StoreRecord, body: SearchBody, wanted: list[ItemSpec]) -> Response:
    extra: dict[str, Any] = {}
    model = body.model or store.model
    if wanted:
        unwanted = [] if body.negative is None else _items(body.negative, "negative")
        description = describe(model)
        embedded = embed([*wanted, *unwanted], model)
        position = Position.of(body.page, store.id, body, embedded.items)
        hits = context().library.search(
            store.id,
            embedded.vectors,
            [modality_of(item) for item in embedded.items],
            revision=description.revision,
            negative=len(unwanted),
            weights=body.weights,
            **_options(body, position),
        )
        extra = _about(embedded, description)
    else:
        served(model)
        position = Position.of(body.page, store.id, body)
        options = _options(body, position)
        if body.like is not None:
            hits = context().library.search_like(store.id, body.like, **options)
        else:  # whoever brings a vector says by it that it is of the store's model
            hits = context().library.search(
                store.id, [body.vector or ()], "text", revision=store.revision, **options
            )
    following = position.next(len(hits) > body.max_num_results, body.max_num_results)
    return reply(
        {
            "object": "vector_store.search_results.page",
            "search_query": [part.value for spec in wanted for part in spec.parts if part.kind == "text"],
            "data": [hit_object(hit) for hit in hits[: body.max_num_results]],
            "has_more": following is not None,
            "next_page": following,
            **extra,
        }
    )


def hit_object(hit: Hit) -> dict[str, Any]:
    """OpenAI's search result; ``media`` says what and where."""
    location = f"/v1/files/{hit.file_id}"
    visible = hit.modality in {"image", "audio", "video"}
    at = f"?at={hit.start:g}" if visible and hit.start is not None else ""
    if hit.page is not None:
        visible, at = True, f"?page={hit.page}"
    elif hit.box is not None:
        visible = True
    return {
        "file_id": hit.file_id,
        "filename": hit.name,
        "score": hit.score,
        "attributes": dict(hit.attributes),
        "content": [{"type": "text", "text": hit.snippet or ""}],
        "media": {
            "modality": hit.modality,
            "mime": hit.mime,
            "url": f"{location}/content" if hit.mime else None,
            "thumbnail_url": f"{location}/thumbnail{at}" if visible else None,
            "start": hit.start,
            "end": hit.end,
            "page": hit.page,
            "box": hit.box and list(hit.box),
            "cosine": hit.cosine,
            "item_id": hit.item_id,
            "duplicates": [
                {
                    "file_id": d.file_id,
                    "filename": d.name,
                    "page": d.page,
                    "score": d.score,
                    "cosine": d.cosine,
                }
                for d in hit.duplicates
            ],
            "others": [
                {
                    "start": s.start,
                    "end": s.end,
                    "page": s.page,
                    "box": s.box and list(s.box),
                    "text": s.snippet,
                    "score": s.score,
                    "cosine": s.cosine,
                }
                for s in hit.others
            ],
        },
    }


def _read() -> tuple[SearchBody, list[ItemSpec]]:
    """The body, and what is looked for; none with ``like``."""
    if is_form():
        body, wanted = read_items(SearchBody, optional=True, fuse=True)
    else:
        body = validated(SearchBody, read_json())
        wanted = [] if body.query is None else _items(body.query, "query")
    ways = {"query": bool(wanted), "vector": body.vector is not None, "like": body.like is not None}
    given = [name for name, is_given in ways.items() if is_given]
    if not given:
        raise missing("query")
    if len(given) > 1:
        raise InvalidInput(
            f"expected one of {', '.join(ways)}, got {' and '.join(given)}",
            f"{'、'.join(ways)} 只能给一个，实际给了 {'、'.join(given)}",
            param=given[1],
        )
    for name, value in {"negative": body.negative, "weights": body.weights}.items():
        if value is not None and not wanted:
            raise InvalidInput(f"expected {name} with query only", f"{name} 只能与 query 同用", param=name)
    return body, wanted


def _items(value: Any, param: str) -> list[ItemSpec]:
    """A part or a mixed item; or several, each for itself."""
    limits = context().settings.limits
    if isinstance(value, list) and not 1 <= len(value) <= MAX_QUERIES:
        raise expected(f"1 to {MAX_QUERIES} entries", f" 1 至 {MAX_QUERIES} 项", len(value), param)
    return parse_inputs(value, param, limits)


def _about(embedded: Embedded, description: ModelDescription) -> dict[str, Any]:
    extra: dict[str, Any] = {"usage": usage(embedded.items, description)}
    cut = [truncation(item) for item in embedded.items]
    return {**extra, "truncated": cut} if any(cut) else extra


def _options(body: SearchBody, position: Position) -> dict[str, Any]:
    ranking = body.ranking_options
    return {
        "limit": body.max_num_results + 1,  # whether there is a next page
        "offset": position.offset,
        "diversity": body.diversity,
        "group_duplicates": body.group_duplicates,
        "modalities": body.modalities,
        "filters": body.filters,
        "threshold": None if ranking is None else ranking.score_threshold,
    }
