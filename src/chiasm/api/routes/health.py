"""``/healthz`` and ``/readyz``."""

from typing import Any

from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.context import context
from chiasm.api.errors import language
from chiasm.errors import ChiasmError

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """200 while engine and library answer; 503, and which does not, otherwise."""
    checks = {"engine": _engine(), "library": _library()}
    healthy = all(check["status"] == "ok" for check in checks.values())
    response = reply({"status": "ok" if healthy else "failing", **checks}, 200 if healthy else 503)
    if not healthy:
        response.headers["Retry-After"] = "1"
    return response


@blueprint.get("/readyz")
def readyz() -> Response:
    """200 once a model answers; 503 until then and while the engine drains."""
    check = _engine()
    ready = check["status"] == "ok"
    response = reply({"status": "ready" if ready else "not ready", "engine": check}, 200 if ready else 503)
    if not ready:
        response.headers["Retry-After"] = "1"
    return response


def _engine() -> dict[str, Any]:
    embedder = context().embedder
    try:
        description = embedder.description
        found: dict[str, Any] = {"status": "ok", "model": description.name, "revision": description.revision}
        ask = getattr(embedder, "status", None)
        if ask is None:
            return found
        status = ask()
    except ChiasmError as error:
        return _failing(error)
    if status.stuck:
        found["status"] = "stuck"
    elif status.draining:
        found["status"] = "draining"
    return {
        **found,
        "uptime_seconds": round(status.uptime, 1),
        "queue_length": status.queue_length,
        "busy_seconds": round(status.busy_seconds, 3),
    }


def _library() -> dict[str, Any]:
    try:
        context().library.list_stores(limit=1)
    except ChiasmError as error:
        return _failing(error)
    return {"status": "ok"}


def _failing(error: ChiasmError) -> dict[str, Any]:
    return {"status": "unavailable", "code": error.code, "message": error.message(language())}
