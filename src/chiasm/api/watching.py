"""What every request leaves behind: figures, a log line, a span. Never any of its contents."""

import logging
import re
import time
from contextlib import ExitStack

from flask import Flask, Response, g, request
from werkzeug.routing import Rule

from chiasm.observe.carried import REQUEST_ID, TRACEPARENT, carried, carrying, well_formed
from chiasm.observe.logs import FIELDS
from chiasm.observe.telemetry import Telemetry

logger = logging.getLogger(__name__)

ARRIVED = "chiasm.arrived"  # in the environ: ``time.monotonic()`` when the headers were there
CALLER = "chiasm.caller"  # in the environ, once it is known: the id of the key that was shown
UNMATCHED = "unmatched"  # the route of what leads nowhere: addresses made up by others are no labels
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REFUSED = frozenset({429, 503, 504})
QUIET = frozenset(
    {"/healthz", "/readyz", "/metrics"}
)  # asked for all the time: a line when they fail, no more
_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")


def register_watching(app: Flask, telemetry: Telemetry) -> None:
    """Watch all requests. Call it after what gives them their ids and before anything else."""

    @app.before_request
    def begin() -> None:
        g.watched = ExitStack()
        if route() in QUIET:
            return
        given = {REQUEST_ID: g.request_id, TRACEPARENT: request.headers.get("traceparent", "")}
        g.watched.enter_context(carrying(well_formed(given)))
        g.span = g.watched.enter_context(telemetry.tracer.span(f"{method()} {route()}", "server"))

    @app.teardown_request
    def end(_error: BaseException | None = None) -> None:
        watched: ExitStack | None = g.pop("watched", None)
        if watched is not None:
            watched.close()


def register_counting(app: Flask, telemetry: Telemetry) -> None:
    """Count and log all answers. Call it before all else that looks at answers: it then comes last."""

    @app.before_request
    def begin() -> None:
        g.arrived = float(request.environ.get(ARRIVED, time.monotonic()))

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.monotonic() - g.get("arrived", time.monotonic())
        status, failure = response.status_code, g.get("failure")
        metrics = telemetry.metrics
        metrics.requests.labels(method(), route(), str(status)).inc()
        metrics.request_seconds.labels(method(), route()).observe(seconds)
        if status in REFUSED:
            metrics.rejected.labels(failure or "unknown").inc()
        if "span" in g:
            g.span.set("http.request.method", method())
            g.span.set("http.route", route())
            g.span.set("http.response.status_code", status)
        _log(response.headers.get("X-Request-Id", ""), status, seconds, failure)
        return response


def method() -> str:
    """The present request's method, as a label."""
    return known_method(request.method)


def known_method(name: str) -> str:
    """What nobody has heard of is ``other``."""
    return name if name in METHODS else "other"


def route() -> str:
    """The template of the present request's address."""
    return UNMATCHED if request.url_rule is None else template_of(request.url_rule)


def template_of(rule: Rule) -> str:
    """A rule as the documentation writes it."""
    return _ARGUMENT.sub(r"{\1}", rule.rule)


def _log(request_id: str, status: int, seconds: float, failure: str | None) -> None:
    if route() in QUIET and status < 400:
        return
    key = g.get("key")
    fields = {
        "method": method(),
        "route": route(),
        "status": status,
        "ms": round(1000 * seconds, 2),
        "key_id": None if key is None else key.id,
        "code": failure,
    }
    line = f"{method()} {route()} {status} {fields['ms']} ms" + (f" {failure}" if failure else "")
    with carrying({**carried(), REQUEST_ID: request_id}):
        logger.info("%s", line, extra={FIELDS: fields})
