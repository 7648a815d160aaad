"""``POST /v1/rerank``: documents in the order in which they suit a query, in Cohere's and Jina's shape."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.forms import read_sides
from chiasm.api.inputs import prepare
from chiasm.api.model import perform, served, truncation, usage
from chiasm.api.parts import ItemSpec, check_parts, parse_inputs, parse_item
from chiasm.api.relating import relate
from chiasm.api.schemas.tasks import RerankBody
from chiasm.api.validation import expected
from chiasm.errors import ChiasmError

blueprint = Blueprint("rerank", __name__)


@blueprint.post("/v1/rerank")
def rerank() -> Response:
    """The best ``top_n`` documents, best first."""
    limits = context().settings.limits
    if is_form():
        body, (queries, documents) = read_sides(RerankBody, "query", "documents")
        if len(queries) != 1:
            raise expected("one query", "一个查询", len(queries), "query")
    else:
        body = validated(RerankBody, read_json())
        queries = [parse_item(body.query, "query", limits)]
        documents = parse_inputs(body.documents, "documents", limits)
    ranked = _judged(body.model, queries[0], documents) or _compared(body.model, queries, documents)
    results = [
        {**ranked.about[i], "document": _document(documents[i])} if body.return_documents else ranked.about[i]
        for i in ranked.order[: body.top_n]
    ]
    return reply(
        {
            "id": f"rerank-{uuid4().hex}",
            "object": "list",
            "model": ranked.model,
            "results": results,
            "usage": ranked.usage,
        }
    )


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """What is said of each document, and their order, best first."""

    model: str
    about: Sequence[dict[str, Any]]
    order: Sequence[int]
    usage: dict[str, Any]


def _compared(model: str | None, queries: list[ItemSpec], documents: list[ItemSpec]) -> _Ranked:
    """By vectors."""
    related = relate(model, queries, documents, "documents")
    scores, cosines = related.scores[0], related.cosines[0]
    about = [
        {
            "index": index,
            "relevance_score": float(scores[index]),
            "cosine": float(cosines[index]),
            **related.truncated(1 + index),
        }
        for index in range(len(documents))
    ]
    order = np.lexsort((-cosines, -scores)).tolist()
    return _Ranked(model=related.description.name, about=about, order=order, usage=related.usage)


def _judged(model: str | None, query: ItemSpec, documents: list[ItemSpec]) -> _Ranked | None:
    """By a model that reads query and document together; None where the model gives vectors instead."""
    using = served(model)
    description = using.embedder.description
    if "embed" in description.capabilities or "match" not in description.capabilities:
        return None
    check_parts(1 + sum(len(spec.parts) for spec in documents), "documents", context().settings.limits)
    items = prepare([query, *documents], using.preprocessor)
    try:
        scores = perform("match", items, {}, using.embedder).arrays[0]
    except ChiasmError as error:
        place = re.fullmatch(r"input\[(\d+)\]", error.param or "")
        if place:
            error.param = documents[int(place[1]) - 1].param
        raise
    about = []
    for index, (score, item) in enumerate(zip(scores.tolist(), items[1:], strict=True)):
        cut = truncation(item)
        about.append({"index": index, "relevance_score": score, **({"truncated": cut} if cut else {})})
    order = np.argsort(-scores, kind="stable").tolist()
    return _Ranked(model=description.name, about=about, order=order, usage=usage(items, description))


def _document(spec: ItemSpec) -> dict[str, Any]:
    """Its text, and its addresses; content that came in the request is not sent back."""
    parts = [_shown(part.kind, part.value, part.expect) for part in spec.parts]
    return parts[0] if len(parts) == 1 else {"content": parts}


def _shown(kind: str, value: Any, expect: Any) -> dict[str, Any]:
    if kind == "text":
        return {"text": value}
    if kind == "file":
        return {"type": "file", "file": {"file_id": value}}
    name = "file" if expect is None else expect.value
    return {name: value if kind == "url" and not value.startswith("data:") else None}
