"""``POST /v1/similarity``: each query against each document, any modality against any."""

from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.forms import read_sides
from chiasm.api.parts import parse_inputs
from chiasm.api.relating import relate
from chiasm.api.schemas.tasks import SimilarityBody

blueprint = Blueprint("similarity", __name__)


@blueprint.post("/v1/similarity")
def similarity() -> Response:
    """A matrix of cosines, and of probabilities of relevance: a row for each query."""
    limits = context().settings.limits
    if is_form():
        body, (queries, documents) = read_sides(SimilarityBody, "queries", "documents")
    else:
        body = validated(SimilarityBody, read_json())
        queries = parse_inputs(body.queries, "queries", limits)
        documents = parse_inputs(body.documents, "documents", limits)
    related = relate(body.model, queries, documents, "documents")
    rows = zip(related.cosines.tolist(), related.scores.tolist(), strict=True)
    return reply(
        {
            "object": "list",
            "model": related.description.name,
            "data": [
                {
                    "object": "similarity",
                    "index": i,
                    "cosines": cosines,
                    "scores": scores,
                    **related.truncated(i),
                }
                for i, (cosines, scores) in enumerate(rows)
            ],
            "usage": related.usage,
        }
    )
