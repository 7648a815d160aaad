"""A line in the audit log for each request that changes something, administers something or was refused."""

from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, request

from chiasm.api.admission import caller
from chiasm.api.context import context
from chiasm.api.rights import need_of
from chiasm.stores import Amounts

NOTED = frozenset({"write", "train", "admin"})
REFUSED = frozenset({401, 403, 429})


def register_auditing(app: Flask) -> None:
    """Write down what is done: who, when, which route, with what end; never what was sent."""
    app.after_request(_note)


def _note(response: Response) -> Response:
    log = context().audit
    reading = request.url_rule is None or need_of(request.endpoint) not in NOTED
    if log is not None and (response.status_code in REFUSED or not reading):
        log.write(_entry(response))
    return response


def _entry(response: Response) -> dict[str, Any]:
    cost: Amounts = g.get("cost") or Amounts()
    return {
        "time": datetime.fromtimestamp(context().clock(), UTC).isoformat(timespec="milliseconds"),
        "request": g.get("request_id"),
        "key": caller() or None,
        "method": request.method,
        "route": request.url_rule.rule if request.url_rule is not None else None,
        "status": response.status_code,
        "code": g.get("code"),
        "bytes": request.content_length or 0,
        "cost": {name: amount for name, amount in cost.items() if amount},
    }
