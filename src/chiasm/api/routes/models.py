"""``/v1/models``."""

from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request

from chiasm.api.answers import deleted, reply
from chiasm.api.bodies import read_json, validated
from chiasm.api.context import context, state
from chiasm.api.errors import language
from chiasm.api.model import describe
from chiasm.api.ports import Shelved
from chiasm.api.routes.jobs import job_object, jobs
from chiasm.api.schemas.models import AddModelBody, OfferQuery
from chiasm.api.security import require_local
from chiasm.api.validation import expected
from chiasm.errors import NotFound
from chiasm.hub.listing import look
from chiasm.hub.names import is_hub_source, parse_source, pulled
from chiasm.preprocess import ModelDescription
from chiasm.serving.messages import info_to_error
from chiasm.serving.packing import ModelStanding
from chiasm.serving.registry import Registry
from chiasm.settings import NamedSource, short_name

blueprint = Blueprint("models", __name__, url_prefix="/v1")


@blueprint.get("/models")
def list_models() -> Response:
    """The models that are served; of those that are not loaded only the name and how they stand."""
    first, standings = describe(None), _standings()
    others = [_listed(name, standings.get(name)) for name in context().others]
    return reply({"object": "list", "data": [_model(first, standings.get(first.name)), *others]})


@blueprint.get("/models/<name>")
def get_model(name: str) -> Response:
    """One model, which is loaded for it if need be."""
    description = describe(name)
    return reply(_model(description, _standings().get(description.name)))


@blueprint.get("/model_offers")
def offer() -> Response:
    """What a hub has under a name; it is asked now. For programs on this machine only."""
    require_local()
    source = parse_source(validated(OfferQuery, request.args.to_dict()).source)
    found = look(source)
    return reply(
        {
            "object": "model.offer",
            "source": str(found.source),
            "commit": found.commit,
            "licence": found.licence,
            "languages": list(found.languages),
            "modalities": list(found.modalities),
            "bytes": found.bytes,
            "files": [file.path for file in found.files],
            "pulled": pulled(source) is not None,
        }
    )


@blueprint.post("/models")
def add_model() -> Response:
    """Serve a model besides: a folder, or one of a hub, which a job brings if need be. For programs on this
    machine only."""
    require_local()
    body = validated(AddModelBody, read_json())
    name = body.name or short_name(body.source)
    adding = NamedSource(name=name, source=body.source)
    here = registry()
    here.expect_free(adding)
    if is_hub_source(body.source):
        if pulled(parse_source(body.source)) is None:
            return reply(job_object(jobs().submit_pull(name, body.source)), 202)
    elif not (Path(body.source).expanduser() / "config.json").is_file():
        raise expected(
            "hf:OWNER/NAME, modelscope:OWNER/NAME or a folder with a config.json",
            "hf:所有者/名称、modelscope:所有者/名称，或含 config.json 的目录",
            body.source,
            "source",
        )
    here.add(adding)
    return reply(_listed(name, _standings().get(name)))


@blueprint.delete("/models/<name>")
def remove_model(name: str) -> Response:
    """Serve a model no more that was added; its files stay, and so do vectors that it made."""
    require_local()
    registry().remove(name)
    return deleted(name, "model")


def registry() -> Registry:
    """Where models are added.

    Raises:
        NotFound: nowhere; the application was made without.
    """
    found = context().registry
    if found is None:
        raise NotFound("models cannot be added here", "此处不能添加模型", code="not_found")
    return found


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
        "languages": list(description.languages),
        "metrics": dict(description.metrics),
        **_standing(standing),
    }


def _head(name: str) -> dict[str, Any]:
    here = context().registry
    return {
        "id": name,
        "object": "model",
        "created": state().started_at,
        "owned_by": "chiasm",
        "source": None if here is None else here.sources().get(name),
        "added": here is not None and here.added(name),
    }


def _standing(standing: ModelStanding | None) -> dict[str, Any]:
    if standing is None:
        return {"status": "loaded"}
    error = None if standing.error is None else info_to_error(standing.error).message(language())
    return {"status": standing.state, "bytes": standing.bytes, **({"error": error} if error else {})}
