"""``/v1/session``: who a key belongs to, and a pass with which a page may show files."""

from typing import Any

from flask import Blueprint, Response, g

from chiasm.api.answers import deleted, reply
from chiasm.api.context import context, state
from chiasm.api.passes import SECONDS
from chiasm.stores import KeyRecord

blueprint = Blueprint("session", __name__, url_prefix="/v1/session")


@blueprint.post("")
def open_session() -> Response:
    """Say what the key may do, and give the browser a pass."""
    key: KeyRecord | None = g.key
    passes = state().passes
    if key is None or passes is None:
        return reply({"object": "session", "key": None, "expires_at": None})
    response = reply(
        {"object": "session", "key": key_object(key), "expires_at": int(context().clock()) + SECONDS}
    )
    passes.give(response, key.id)
    return response


@blueprint.delete("")
def close_session() -> Response:
    """Take the pass back."""
    response = deleted("session", "session.deleted")
    passes = state().passes
    if passes is not None:
        passes.take(response)
    return response


def key_object(key: KeyRecord) -> dict[str, Any]:
    """A key as its holder sees it."""
    return {
        "id": key.id,
        "name": key.name,
        "rights": list(key.rights),
        "rate": key.allowance.rate,
        "budgets": dict(key.allowance.budgets()),
        "created_at": key.created_at,
        "expires_at": None if key.expires_at is None else int(key.expires_at),
    }
