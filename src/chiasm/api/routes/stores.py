"""``/v1/vector_stores``: OpenAI's vector stores over one's own media."""

from typing import Any

from flask import Blueprint, Response, request

from chiasm.api.answers import deleted, page, reply
from chiasm.api.bodies import read_json, read_optional_json, validated
from chiasm.api.context import context
from chiasm.api.indexing import attach
from chiasm.api.model import chosen
from chiasm.api.routes.jobs import job_object, jobs
from chiasm.api.schemas.base import Cursor
from chiasm.api.schemas.stores import CreateStoreBody, ReembedBody, UpdateStoreBody
from chiasm.errors import ChiasmError
from chiasm.library import StoreInfo
from chiasm.library.attributes import checked_attributes

blueprint = Blueprint("stores", __name__, url_prefix="/v1/vector_stores")


@blueprint.post("")
def create_store() -> Response:
    """A new store, with files if there are ``file_ids``."""
    body = validated(CreateStoreBody, read_optional_json())
    library = context().library
    for index, file_id in enumerate(body.file_ids):  # all must exist before anything is made
        try:
            library.get_file(file_id)
        except ChiasmError as error:
            error.param = f"file_ids[{index}]"
            raise
    info = library.create_store(
        body.name or "", attributes=_metadata(body.metadata), model=chosen(body.model)
    )
    if body.file_ids:
        attach(info.store.id, body.file_ids, None)
        info = library.get_store(info.store.id)
    return reply(store_object(info))


@blueprint.get("")
def list_stores() -> Response:
    """A page of the stores."""
    query = validated(Cursor, request.args.to_dict())
    found = context().library.list_stores(**query.model_dump(exclude_none=True))
    return page([store_object(info) for info in found.data], has_more=found.has_more)


@blueprint.get("/<store_id>")
def get_store(store_id: str) -> Response:
    """One store, by id or name."""
    return reply(store_object(context().library.get_store(store_id)))


@blueprint.post("/<store_id>")
def update_store(store_id: str) -> Response:
    """Rename a store, or replace its metadata."""
    body = validated(UpdateStoreBody, read_json())
    info = context().library.update_store(store_id, name=body.name, attributes=_metadata(body.metadata))
    return reply(store_object(info))


@blueprint.post("/<store_id>/reembed")
def reembed(store_id: str) -> Response:
    """Make a store's vectors anew with another model, as a job; until its end the old ones answer."""
    body = validated(ReembedBody, read_optional_json())
    return reply(job_object(jobs().submit_reembed(store_id, chosen(body.model))), 202)


@blueprint.delete("/<store_id>")
def delete_store(store_id: str) -> Response:
    """Delete a store; files that lie elsewhere are not touched."""
    return deleted(context().library.delete_store(store_id), "vector_store.deleted")


def store_object(info: StoreInfo) -> dict[str, Any]:
    """OpenAI's vector store object, and what can be found in it."""
    record = info.store
    counts = {name: info.files.get(name, 0) for name in ("in_progress", "completed", "failed", "cancelled")}
    return {
        "id": record.id,
        "object": "vector_store",
        "created_at": record.created_at,
        "last_active_at": record.created_at,
        "name": record.name,
        "usage_bytes": info.bytes,
        "file_counts": {**counts, "total": sum(counts.values())},
        "status": "in_progress" if counts["in_progress"] else "completed",
        "expires_after": None,
        "expires_at": None,
        "metadata": dict(record.attributes),
        "segments": dict(info.segments),
        "model": record.model,
        "model_revision": record.revision,
        "dimensions": record.dimensions,
    }


def _metadata(given: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if given is None else checked_attributes(given, "metadata")
