"""``/v1/models``."""

from typing import Any

from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.context import context, state
from chiasm.api.errors import language
from chiasm.api.model import describe
from chiasm.api.ports import Shelved
from chiasm.preprocess import ModelDescription
from chiasm.serving.messages import info_to_error
from chiasm.serving.packing import ModelStanding

blueprint = Blueprint("models", __name__, url_prefix="/v1/models")


@blueprint.get("")
def list_models() -> Response:
    """The models that are served; of those that are not loaded only the name and how they stand."""
    first, standings = describe(None), _standings()
    others = [_listed(name, standings.get(name)) for name in context().others]
    return reply({"object": "list", "data": [_model(first, standings.get(first.name)), *others]})


@blueprint.get("/<name>")
def get_model(name: str) -> Response:
    """One model, which is loaded for it if need be."""
    description = describe(name)
    return reply(_model(description, _standings().get(description.name)))


def _standings() -> dict[str, ModelStanding]:
    embedder = context().embedder
    return {one.name: one for one in embedder.standings()} if isinstance(embedder, Shelved) else {}


def _listed(name: str, standing: ModelStanding | None) -> dict[str, Any]:
    if standing is not None and standing.state == "loaded":
        return _model(describe(name), standing)
    return {**_head(name), **_standing(standing)}


def _model(description: ModelDescription, standing: ModelStanding | None) -> dict[str, Any]:
    return {
        **_head(description.name),
        "capabilities": list(description.capabilities),
        "modalities": [modality.value for modality in description.modalities],
        "dimensions": description.dimensions,
        "context_length": description.context_length,
        "backend": description.backend,
        "revision": description.revision,
        "licence": description.licence,
        "metrics": dict(description.metrics),
        **_standing(standing),
    }


def _head(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": state().started_at, "owned_by": "chiasm"}


def _standing(standing: ModelStanding | None) -> dict[str, Any]:
    if standing is None:
        return {"status": "loaded"}
    error = None if standing.error is None else info_to_error(standing.error).message(language())
    return {"status": standing.state, "bytes": standing.bytes, **({"error": error} if error else {})}
