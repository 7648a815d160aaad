"""``/v1/models``."""

from typing import Any

from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.context import state
from chiasm.api.model import describe
from chiasm.preprocess import ModelDescription

blueprint = Blueprint("models", __name__, url_prefix="/v1/models")


@blueprint.get("")
def list_models() -> Response:
    """The models that are served."""
    return reply({"object": "list", "data": [_model(describe(None))]})


@blueprint.get("/<name>")
def get_model(name: str) -> Response:
    """One model."""
    return reply(_model(describe(name)))


def _model(description: ModelDescription) -> dict[str, Any]:
    return {
        "id": description.name,
        "object": "model",
        "created": state().started_at,
        "owned_by": "chiasm",
        "capabilities": list(description.capabilities),
        "modalities": [modality.value for modality in description.modalities],
        "dimensions": description.dimensions,
        "context_length": description.context_length,
        "backend": description.backend,
        "revision": description.revision,
        "licence": description.licence,
        "metrics": dict(description.metrics),
    }
