"""``/v1/vector_stores/{id}/files``: which files are in a store; and ``…/folders``."""

from typing import Any

from flask import Blueprint, Response, request

from chiasm.api.answers import page, reply
from chiasm.api.bodies import is_form, read_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.errors import language
from chiasm.api.forms import form_fields, single_file
from chiasm.api.indexing import attach
from chiasm.api.routes.files import modality_of
from chiasm.api.routes.jobs import job_object, jobs
from chiasm.api.schemas.stores import AttachBody, AttachForm, AttributesBody, EntriesCursor, FolderBody
from chiasm.api.security import require_local
from chiasm.api.uploads import keep
from chiasm.library.attributes import checked_attributes
from chiasm.stores import EntryRecord
from chiasm.stores.records import Attribute

blueprint = Blueprint("entries", __name__, url_prefix="/v1/vector_stores/<store_id>")


@blueprint.post("/files")
def attach_file(store_id: str) -> Response:
    """Put an uploaded file into the store; as a form, upload it at the same time."""
    if is_form():
        context().library.get_store(store_id)  # before the file is kept
        form = read_form()
        body = validated(AttachForm, form_fields(AttachForm, form.values))
        attributes = _checked(body.attributes)
        file_id = keep(single_file(form, "file"), body.purpose).id
        return reply(entry_object(attach(store_id, [file_id], attributes)[0]))
    given = validated(AttachBody, read_json())
    return reply(entry_object(attach(store_id, [given.file_id], _checked(given.attributes))[0]))


@blueprint.get("/files")
def list_entries(store_id: str) -> Response:
    """A page of the store's files."""
    query = validated(EntriesCursor, request.args.to_dict())
    cursor = query.model_dump(exclude_none=True, exclude={"filter"})
    found = context().library.list_files(store_id, status=query.filter, **cursor)
    return page([entry_object(entry) for entry in found.data], has_more=found.has_more)


@blueprint.get("/files/<file_id>")
def get_entry(store_id: str, file_id: str) -> Response:
    """One file of the store."""
    return reply(entry_object(context().library.entry(store_id, file_id)))


@blueprint.get("/files/<file_id>/content")
def entry_content(store_id: str, file_id: str) -> Response:
    """The texts that a file is found by, in its order: passages, and words that were read or heard."""
    library = context().library
    library.entry(store_id, file_id)
    texts = [
        {
            "type": "text",
            "text": segment.snippet,
            "media": {
                "modality": segment.modality,
                "start": segment.start,
                "end": segment.end,
                "page": segment.page,
                "box": segment.box,
            },
        }
        for segment in library.segments(store_id, file_id)
        if segment.snippet
    ]
    return reply(
        {"object": "vector_store.file_content.page", "data": texts, "has_more": False, "next_page": None}
    )


@blueprint.post("/files/<file_id>")
def update_entry(store_id: str, file_id: str) -> Response:
    """Replace a file's attributes in this store."""
    body = validated(AttributesBody, read_json())
    attributes = checked_attributes(body.attributes or {})
    return reply(entry_object(context().library.set_attributes(store_id, file_id, attributes)))


@blueprint.delete("/files/<file_id>")
def remove_entry(store_id: str, file_id: str) -> Response:
    """Take a file out of the store; an uploaded file is kept."""
    removed = context().library.remove_file(store_id, file_id)
    return reply({"id": removed, "object": "vector_store.file.deleted", "deleted": True})


@blueprint.post("/folders")
def index_folder(store_id: str) -> Response:
    """Index a folder of this machine where it lies, as a job. For programs on this machine only."""
    require_local()
    body = validated(FolderBody, read_json())
    store = context().library.get_store(store_id).store.id
    return reply(job_object(jobs().submit_index_folder(store, body.path)), 202)


def entry_object(entry: EntryRecord) -> dict[str, Any]:
    """OpenAI's vector store file object, and what kind of content it is."""
    problem = entry.problem
    return {
        "id": entry.file.id,
        "object": "vector_store.file",
        "created_at": entry.created_at,
        "vector_store_id": entry.store_id,
        "status": entry.status,
        "last_error": None
        if problem is None
        else {"code": problem.code, "message": problem.zh if language() == "zh" else problem.en},
        "usage_bytes": entry.file.bytes,
        "attributes": dict(entry.attributes),
        "chunking_strategy": {"type": "other"},
        "filename": entry.file.name,
        "mime": entry.file.mime,
        "modality": entry.file.modality or modality_of(entry.file.mime),
        "item_id": entry.item_id,
        "folder": entry.folder,
    }


def _checked(attributes: dict[str, Any] | None) -> dict[str, Attribute] | None:
    return None if attributes is None else checked_attributes(attributes)
