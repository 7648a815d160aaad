"""``POST /v1/vector_stores/{id}/search``: text, picture, sound or video against all of them."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.forms import read_items
from chiasm.api.model import describe, embed, truncation, usage
from chiasm.api.parts import ItemSpec, check_parts, parse_item, text_part
from chiasm.api.schemas.stores import SearchBody
from chiasm.api.validation import expected, missing
from chiasm.errors import InvalidInput
from chiasm.library import Hit
from chiasm.modality import key_of

blueprint = Blueprint("search", __name__)
MAX_QUERIES = 64


@blueprint.post("/v1/vector_stores/<store_id>/search")
def search(store_id: str) -> Response:
    """The files that fit best, each at its best place."""
    if is_form():
        body, given = read_items(SearchBody, optional=True, fuse=True)
        specs = given or None
    else:
        body = validated(SearchBody, read_json())
        specs = None if body.query is None else _queries(body.query)
    if specs is None and body.like is None:
        raise missing("query")
    if specs is not None and body.like is not None:
        raise InvalidInput(
            "expected either query or like, got both", "query 与 like 只能给一个", param="like"
        )
    context().library.get_store(store_id)  # a store that is not there costs no inference
    extra: dict[str, Any] = {}
    if specs is None:
        describe(body.model)
        hits = context().library.search_like(store_id, str(body.like), **_options(body))
    else:
        hits, extra = _by_vectors(store_id, body, specs)
    return reply(
        {
            "object": "vector_store.search_results.page",
            "search_query": [
                part.value for spec in specs or () for part in spec.parts if part.kind == "text"
            ],
            "data": [hit_object(hit) for hit in hits],
            "has_more": False,
            "next_page": None,
            **extra,
        }
    )


def hit_object(hit: Hit) -> dict[str, Any]:
    """OpenAI's search result; ``media`` says what and where."""
    location = f"/v1/files/{hit.file_id}"
    visible = hit.modality in {"image", "audio", "video"}
    at = f"?at={hit.start:g}" if hit.modality in {"audio", "video"} and hit.start is not None else ""
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
            "cosine": hit.cosine,
            "item_id": hit.item_id,
            "others": [
                {"start": s.start, "end": s.end, "text": s.snippet, "score": s.score, "cosine": s.cosine}
                for s in hit.others
            ],
        },
    }


def _queries(value: Any) -> list[ItemSpec]:
    """A part or a mixed item; or several texts, each a query of its own."""
    limits = context().settings.limits
    if not isinstance(value, list):
        return [parse_item(value, "query", limits)]
    if not 1 <= len(value) <= MAX_QUERIES or not all(isinstance(text, str) for text in value):
        raise expected(
            f'a string, a part, {{"content": […]}}, or a list of 1 to {MAX_QUERIES} strings',
            f"字符串、一个部分、{{content: […]}}，或 1 至 {MAX_QUERIES} 个字符串的列表",
            value,
            "query",
        )
    check_parts(len(value), "query", limits)
    return [
        ItemSpec(param=f"query[{i}]", parts=(text_part(text, f"query[{i}]", limits),))
        for i, text in enumerate(value)
    ]


def _by_vectors(
    store_id: str, body: SearchBody, specs: list[ItemSpec]
) -> tuple[Sequence[Hit], dict[str, Any]]:
    description = describe(body.model)
    embedded = embed(specs)
    modality = key_of(frozenset(part.modality for item in embedded.items for part in item.parts))
    hits = context().library.search(
        store_id, embedded.vectors, modality, revision=description.revision, **_options(body)
    )
    extra: dict[str, Any] = {"usage": usage(embedded.items, description)}
    cut = [truncation(item) for item in embedded.items]
    if any(cut):
        extra["truncated"] = cut
    return hits, extra


def _options(body: SearchBody) -> dict[str, Any]:
    ranking = body.ranking_options
    return {
        "limit": body.max_num_results,
        "modalities": body.modalities,
        "filters": body.filters,
        "threshold": None if ranking is None else ranking.score_threshold,
    }
