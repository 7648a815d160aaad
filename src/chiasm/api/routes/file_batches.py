"""``/v1/vector_stores/{id}/file_batches``: many uploaded files at once; a batch is a job."""

from typing import Any

from flask import Blueprint, Response, request

from chiasm.api.answers import page, reply
from chiasm.api.bodies import read_json, validated
from chiasm.api.context import context
from chiasm.api.indexing import pay_for
from chiasm.api.routes.entries import entry_object
from chiasm.api.routes.jobs import jobs
from chiasm.api.schemas.stores import EntriesCursor, FileBatchBody
from chiasm.api.validation import expected
from chiasm.errors import ChiasmError, NotFound
from chiasm.jobs import JobRecord
from chiasm.library.attributes import checked_attributes
from chiasm.library.work import ADD_FILES
from chiasm.stores import EntryRecord

blueprint = Blueprint("file_batches", __name__, url_prefix="/v1/vector_stores/<store_id>/file_batches")
PREFIX, JOB_PREFIX = "vsfb_", "job_"
STATUS = {"queued": "in_progress", "running": "in_progress"}  # others are called the same


@blueprint.post("")
def create_batch(store_id: str) -> Response:
    """Put uploaded files into the store, to be indexed together."""
    body = validated(FileBatchBody, read_json())
    if (body.file_ids is None) == (body.files is None):
        raise expected("either file_ids or files", " file_ids 或 files 之一", None, "file_ids")
    library, submit = context().library, jobs().submit_add_files
    store = library.get_store(store_id).store.id
    wanted = [(f"files[{i}]", one.file_id, one.attributes) for i, one in enumerate(body.files or ())]
    wanted += [(f"file_ids[{i}]", file_id, body.attributes) for i, file_id in enumerate(body.file_ids or ())]
    checked = []
    for param, file_id, attributes in wanted:  # all must be right before anything is done
        try:
            library.get_file(file_id)
        except ChiasmError as error:
            error.param = param
            raise
        checked.append((file_id, None if attributes is None else checked_attributes(attributes)))
    pay_for(store_id, [file_id for file_id, _ in checked])
    for file_id, attributes in checked:
        library.attach_files(store, [file_id], attributes=attributes)
    job = submit(store, [file_id for file_id, _ in checked])
    return reply(batch_object(job, _entries(job)))


@blueprint.get("/<batch_id>")
def get_batch(store_id: str, batch_id: str) -> Response:
    """How far a batch is."""
    job = _job(store_id, batch_id)
    return reply(batch_object(job, _entries(job)))


@blueprint.post("/<batch_id>/cancel")
def cancel_batch(store_id: str, batch_id: str) -> Response:
    """Ask a batch to stop; what is indexed stays."""
    job = jobs().cancel_job(_job(store_id, batch_id).id)
    return reply(batch_object(job, _entries(job)))


@blueprint.get("/<batch_id>/files")
def list_batch(store_id: str, batch_id: str) -> Response:
    """A page of a batch's files."""
    query = validated(EntriesCursor, request.args.to_dict())
    entries = [e for e in _entries(_job(store_id, batch_id)) if query.filter in (None, e.status)]
    if query.order == "desc":
        entries.reverse()
    ids = [entry.file.id for entry in entries]
    start = _place(ids, query.after, "after") + 1 if query.after else 0
    end = _place(ids, query.before, "before") if query.before else len(ids)
    if query.before and not query.after:
        start = max(0, end - query.limit)
    shown = entries[start : min(end, start + query.limit)]
    return page([entry_object(entry) for entry in shown], has_more=start + len(shown) < end)


def batch_object(job: JobRecord, entries: list[EntryRecord]) -> dict[str, Any]:
    """OpenAI's file batch object."""
    counts = dict.fromkeys(("in_progress", "completed", "failed", "cancelled"), 0)
    for entry in entries:
        counts[
            "cancelled" if job.status == "cancelled" and entry.status == "in_progress" else entry.status
        ] += 1
    return {
        "id": PREFIX + job.id.removeprefix(JOB_PREFIX),
        "object": "vector_store.files_batch",
        "created_at": int(job.created_at),
        "vector_store_id": job.params["store"],
        "status": STATUS.get(job.status, job.status),
        "file_counts": {**counts, "total": len(entries)},
    }


def _job(store_id: str, batch_id: str) -> JobRecord:
    store = context().library.get_store(store_id).store.id
    job = jobs().get_job(JOB_PREFIX + batch_id.removeprefix(PREFIX)) if batch_id.startswith(PREFIX) else None
    if job is None or job.name != ADD_FILES or job.params["store"] != store:
        raise NotFound(
            f"there is no file batch {batch_id!r} in this store",
            f"此库中没有文件批次 {batch_id!r}",
            param="batch_id",
        )
    return job


def _entries(job: JobRecord) -> list[EntryRecord]:
    """The batch's files that are still in the store, in the order in which they were given."""
    found = context().library.entries_of(job.params["store"], job.params["file_ids"])
    by_id = {entry.file.id: entry for entry in found}
    return [by_id[file_id] for file_id in dict.fromkeys(job.params["file_ids"]) if file_id in by_id]


def _place(ids: list[str], cursor: str, param: str) -> int:
    if cursor not in ids:
        raise expected("the id of a file of this batch", "此批次中某个文件的编号", cursor, param)
    return ids.index(cursor)
