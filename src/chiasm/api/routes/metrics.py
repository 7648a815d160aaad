"""``/metrics``: what Prometheus reads."""

from flask import Blueprint, Response, request

from chiasm.api.context import context
from chiasm.api.present import Present
from chiasm.observe.scrape import FOLDER, exposition

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def metrics() -> Response:
    """The figures of all processes of this server, whichever of them is asked."""
    ready = context()
    shared = None if ready.folder is None else ready.folder / FOLDER
    folder = shared if shared is not None and shared.is_dir() else None
    text, content_type = exposition(
        folder, ready.telemetry.metrics, Present(ready), request.headers.get("Accept", "")
    )
    return Response(text, content_type=content_type)
