"""``/v1/batches``: the same requests, a line each, offline."""

from typing import Any

from flask import Blueprint, Response, request

from chiasm.api.admission import caller
from chiasm.api.answers import page, reply
from chiasm.api.bodies import read_json, validated
from chiasm.api.context import context
from chiasm.api.errors import language
from chiasm.api.routes.jobs import jobs
from chiasm.api.schemas.batches import BatchBody
from chiasm.api.schemas.files import JobsCursor
from chiasm.errors import InvalidInput, NotFound
from chiasm.jobs import JobRecord
from chiasm.library.attributes import checked_attributes
from chiasm.library.batches import BATCH

blueprint = Blueprint("batches", __name__, url_prefix="/v1/batches")
PREFIX, JOB_PREFIX = "batch_", "job_"
STATUS = {"queued": "validating", "running": "in_progress"}  # others are called the same
SCAN = 200  # jobs looked at in one go
WINDOW_SECONDS = 86_400


@blueprint.post("")
def create_batch() -> Response:
    """Have the lines of an uploaded file answered."""
    body = validated(BatchBody, read_json())
    record = context().library.get_file(body.input_file_id)
    if record.purpose != "batch":
        raise InvalidInput(
            f"expected a file with purpose batch, got {record.purpose}",
            f"文件的 purpose 应为 batch，实际为 {record.purpose}",
            param="input_file_id",
        )
    metadata = checked_attributes(body.metadata, "metadata")
    params = {**body.model_dump(), "metadata": metadata, "key": caller()}
    return reply(batch_object(jobs().submit_batch(params)))


@blueprint.get("")
def list_batches() -> Response:
    """The latest batches, newest first."""
    query = validated(JobsCursor, request.args.to_dict())
    found: list[dict[str, Any]] = []
    seen, offset = query.after is None, 0
    while len(found) <= query.limit and (known := jobs().list_jobs(limit=SCAN, offset=offset)):
        offset += len(known)
        for job in (job for job in known if job.name == BATCH):
            if seen:
                found.append(batch_object(job))
            seen = seen or identity_of(job) == query.after
    if not seen:
        raise _gone(query.after or "", "after")
    return page(found[: query.limit], has_more=len(found) > query.limit)


@blueprint.get("/<batch_id>")
def get_batch(batch_id: str) -> Response:
    """How far a batch is, and where its results are."""
    return reply(batch_object(_job(batch_id)))


@blueprint.post("/<batch_id>/cancel")
def cancel_batch(batch_id: str) -> Response:
    """Ask a batch to stop; what it has answered is kept as a file."""
    return reply(batch_object(jobs().cancel_job(_job(batch_id).id)))


def batch_object(job: JobRecord) -> dict[str, Any]:
    """OpenAI's batch object."""
    created, result, error = int(job.created_at), job.result, job.error
    ended = None if job.finished_at is None else int(job.finished_at)
    errors = None
    if error is not None:
        message = error.zh if language() == "zh" else error.en
        errors = {
            "object": "list",
            "data": [{"code": error.code, "message": message, "line": None, "param": None}],
        }
    return {
        "id": identity_of(job),
        "object": "batch",
        "endpoint": job.params["endpoint"],
        "errors": errors,
        "input_file_id": job.params["input_file_id"],
        "completion_window": job.params["completion_window"],
        "status": STATUS.get(job.status, job.status),
        "output_file_id": result.get("output_file_id"),
        "error_file_id": result.get("error_file_id"),
        "created_at": created,
        "expires_at": created + WINDOW_SECONDS,
        "completed_at": ended if job.status == "completed" else None,
        "failed_at": ended if job.status == "failed" else None,
        "cancelled_at": ended if job.status == "cancelled" else None,
        "request_counts": {
            "total": job.total,
            "completed": result.get("completed", job.done),
            "failed": result.get("failed", 0),
        },
        "metadata": job.params["metadata"] or None,
    }


def identity_of(job: JobRecord) -> str:
    """What a batch is called here."""
    return PREFIX + job.id.removeprefix(JOB_PREFIX)


def _job(batch_id: str) -> JobRecord:
    job = jobs().get_job(JOB_PREFIX + batch_id.removeprefix(PREFIX)) if batch_id.startswith(PREFIX) else None
    if job is None or job.name != BATCH:
        raise _gone(batch_id, "batch_id")
    return job


def _gone(identity: str, param: str) -> NotFound:
    return NotFound(f"there is no batch {identity!r}", f"没有批次 {identity!r}", param=param)
