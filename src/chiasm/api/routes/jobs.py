"""``/v1/jobs``: long work, from anywhere in the server."""

from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from chiasm.api.answers import deleted, page, reply
from chiasm.api.bodies import validated
from chiasm.api.context import context, state
from chiasm.api.errors import language
from chiasm.api.events import FOLLOWER, HEAD, Follower
from chiasm.api.following import JobFollower, while_serving
from chiasm.api.gateway import GATEWAY
from chiasm.api.ports import Jobs
from chiasm.api.schemas.files import JobsCursor
from chiasm.errors import NotFound
from chiasm.jobs import JobRecord

blueprint = Blueprint("jobs", __name__, url_prefix="/v1/jobs")
SCAN = 200  # jobs looked at in one go for a cursor
MAX_EVENT_ID = 100


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
def delete_job(job_id: str) -> Response:
    """Ask a job to stop; what it has done stays done. One that is over is forgotten."""
    if not jobs().get_job(job_id).finished:
        return reply(job_object(jobs().cancel_job(job_id)))
    jobs().delete_job(job_id)
    return deleted(job_id, "job")


@blueprint.get("/<job_id>/events")
def job_events(job_id: str) -> Response:
    """The job's progress and end, as they come."""
    source, chinese = jobs(), language() == "zh"
    source.get_job(job_id)  # one that is not there is said to be so
    seen = request.headers.get("Last-Event-ID", "")[:MAX_EVENT_ID]
    follower = JobFollower(partial(source.get_job, job_id), partial(job_object, chinese=chinese), seen)
    first = follower.look()
    if first.ended and not first.text:
        return Response(status=204)  # by which a browser knows that it need not come again
    if not first.ended and request.method == "GET" and GATEWAY in request.environ:
        slots = state().streams
        slots.take()
        look = while_serving(follower.look, context().folder)
        request.environ[FOLLOWER] = Follower(look=look, close=slots.give_back)
    return Response(HEAD + first.text, content_type="text/event-stream; charset=utf-8")


def jobs() -> Jobs:
    """Where jobs are asked for.

    Raises:
        NotFound: this server was started without.
    """
    library = context().library
    if not isinstance(library, Jobs):
        raise NotFound("this server runs no jobs", "此服务器未启用任务", code="no_jobs")
    return library


def job_object(job: JobRecord, *, chinese: bool | None = None) -> dict[str, Any]:
    """A job as every route shows it; in the language of the present request, unless it is told."""
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
        else {"code": error.code, "message": error.zh if in_chinese(chinese) else error.en},
    }


def in_chinese(chosen: bool | None) -> bool:
    """``chosen``, or else what the present request asks for."""
    return language() == "zh" if chosen is None else chosen


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
