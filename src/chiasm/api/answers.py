"""How answers are written."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from flask import Response


def reply(body: Mapping[str, Any], status: int = 200) -> Response:
    """``body`` as JSON."""
    return Response(msgspec.json.encode(body), status, mimetype="application/json")


def page(data: Sequence[Mapping[str, Any]], *, has_more: bool) -> Response:
    """OpenAI's cursor page; every entry has an ``id``."""
    return reply(
        {
            "object": "list",
            "data": list(data),
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": has_more,
        }
    )


def deleted(identity: str, kind: str) -> Response:
    """OpenAI's answer to a deletion."""
    return reply({"id": identity, "object": kind, "deleted": True})
