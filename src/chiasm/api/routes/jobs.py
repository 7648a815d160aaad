"""``/v1/jobs``: long work, from anywhere in the server."""

from typing import Any

from flask import Blueprint, Response, request

from chiasm.api.answers import page, reply
from chiasm.api.bodies import validated
from chiasm.api.context import context
from chiasm.api.errors import language
from chiasm.api.ports import Jobs
from chiasm.api.schemas.files import JobsCursor
from chiasm.errors import NotFound
from chiasm.jobs import JobRecord

blueprint = Blueprint("jobs", __name__, url_prefix="/v1/jobs")
SCAN = 200  # jobs looked at in one go for a cursor


@blueprint.get("")
def list_jobs() -> Response:
    """The latest jobs, newest first."""
    query = validated(JobsCursor, request.args.to_dict())
    found = jobs().list_jobs(limit=query.limit + 1, offset=_offset(query.after))
    return page([job_object(job) for job in found[: query.limit]], has_more=len(found) > query.limit)


@blueprint.get("/<job_id>")
def get_job(job_id: str) -> Response:
    """One job."""
    return reply(job_object(jobs().get_job(job_id)))


@blueprint.delete("/<job_id>")
def cancel_job(job_id: str) -> Response:
    """Ask a job to stop; what it has done stays done."""
    return reply(job_object(jobs().cancel_job(job_id)))


def jobs() -> Jobs:
    """Where jobs are asked for.

    Raises:
        NotFound: this server was started without.
    """
    library = context().library
    if not isinstance(library, Jobs):
        raise NotFound("this server runs no jobs", "此服务器未启用任务", code="no_jobs")
    return library


def job_object(job: JobRecord) -> dict[str, Any]:
    """A job as every route shows it."""
    error = job.error
    return {
        "id": job.id,
        "object": "job",
        "type": job.name,
        "status": job.status,
        "done": job.done,
        "total": job.total,
        "progress": job.done / job.total if job.total else None,
        "eta": job.eta,
        "created_at": int(job.created_at),
        "finished_at": None if job.finished_at is None else int(job.finished_at),
        "params": dict(job.params),
        "result": dict(job.result) if job.status == "completed" else None,
        "error": None
        if error is None
        else {"code": error.code, "message": error.zh if language() == "zh" else error.en},
    }


def _offset(after: str | None) -> int:
    """How many jobs come before the page that follows the job ``after``."""
    if after is None:
        return 0
    jobs().get_job(after)  # one that is not there is said to be so
    offset = 0
    while known := jobs().list_jobs(limit=SCAN, offset=offset):
        for index, job in enumerate(known):
            if job.id == after:
                return offset + index + 1
        offset += len(known)
    return offset
