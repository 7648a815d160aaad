"""``POST /v1/rerank``: documents in the order in which they suit a query, in Cohere's and Jina's shape."""

from typing import Any
from uuid import uuid4

import numpy as np
from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.forms import read_sides
from chiasm.api.parts import ItemSpec, parse_inputs, parse_item
from chiasm.api.relating import Related, relate
from chiasm.api.schemas.tasks import RerankBody
from chiasm.api.validation import expected

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
    related = relate(body.model, queries, documents, "documents")
    scores, cosines = related.scores[0], related.cosines[0]
    order = np.lexsort((-cosines, -scores))[: body.top_n]
    results = [_result(int(i), related, documents[i], body.return_documents) for i in order]
    return reply(
        {
            "id": f"rerank-{uuid4().hex}",
            "object": "list",
            "model": related.description.name,
            "results": results,
            "usage": related.usage,
        }
    )


def _result(index: int, related: Related, spec: ItemSpec, with_document: bool) -> dict[str, Any]:
    result: dict[str, Any] = {
        "index": index,
        "relevance_score": float(related.scores[0, index]),
        "cosine": float(related.cosines[0, index]),
        **related.truncated(1 + index),
    }
    if with_document:
        result["document"] = _document(spec)
    return result


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
