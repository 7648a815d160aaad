"""Who asks, whether they may, and what it costs them.

While no key exists everybody on this machine may do everything. As soon as one does, every route that
:mod:`chiasm.api.rights` does not open needs one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flask import Flask, g, request

from chiasm.api.context import context, state
from chiasm.api.rights import SHOWN_BY_COOKIE, Need, allows, need_of
from chiasm.api.security import host_name, is_loopback
from chiasm.api.watching import CALLER
from chiasm.errors import Forbidden, Overloaded, Unauthorized
from chiasm.settings import ServerSettings
from chiasm.stores import Amounts, KeyRecord, Keys

ON_BEHALF = "chiasm.on_behalf"  # in the environ: the id of the key for which the server itself asks


def register_admission(app: Flask) -> None:
    """Let nobody in who may not come in."""
    app.before_request(_admit)


def caller() -> str:
    """The id of the key that the present request shows; empty if none is needed."""
    key: KeyRecord | None = g.get("key")
    return "" if key is None else key.id


@contextmanager
def spending(amounts: Amounts) -> Iterator[None]:
    """Count what the block computes against the caller's budget; given back when the engine refuses it.

    Raises:
        RateLimited: more than is left of today's.
    """
    spend(amounts)
    try:
        yield
    except Overloaded:
        spend(-amounts)
        raise


def spend(amounts: Amounts) -> None:
    """Count what is computed for the caller.

    Raises:
        RateLimited: more than is left of today's.
    """
    key, keys = g.get("key"), context().keys
    if key is not None and keys is not None:
        keys.spend(key, amounts)
    g.cost = g.get("cost", Amounts()) + amounts


def has_budget() -> bool:
    """Whether it matters what the present request costs."""
    key: KeyRecord | None = g.get("key")
    return key is not None and bool(key.allowance.budgets())


def expect_key(keys: Keys, headers: Mapping[str, str]) -> None:
    """Before a large body is taken in.

    Args:
        headers: by their names in lower case.

    Raises:
        Unauthorized: a key is needed, and this is none.
    """
    if keys.find(_token(headers.get("authorization", ""))) is None and keys.exist():
        raise _unauthorized(headers.get("authorization", ""))


def _admit() -> None:
    g.key = None
    need, keys = need_of(request.endpoint), context().keys
    if need == "nothing" or keys is None:
        return
    if ON_BEHALF in request.environ:
        g.key = _on_behalf(keys, request.environ[ON_BEHALF], need)
        return
    shown = request.headers.get("Authorization", "")
    key = keys.find(_token(shown)) or _by_cookie(keys, shown)
    if key is None:
        if keys.exist():
            raise _unauthorized(shown)
        _expect_closed(context().settings.server)
        return
    g.key = key
    request.environ[CALLER] = key.id
    _expect_right(key, need)
    keys.admit(key)


def _on_behalf(keys: Keys, key_id: str, need: Need) -> KeyRecord | None:
    """The key for which a batch is answered, as long as it is open; its lines are no requests of a minute."""
    if not key_id:
        return None
    key = keys.get(key_id)
    if key is None:
        raise _unauthorized(key_id)
    _expect_right(key, need)
    return key


def _expect_right(key: KeyRecord, need: Need) -> None:
    if not allows(key, need):
        raise Forbidden(
            f"expected a key with the right {need}, got {key.name!r} with {', '.join(key.rights)}",
            f"需要具有 {need} 权限的密钥，实际为 {key.name!r}，其权限为 {'、'.join(key.rights)}",
            code="missing_right",
        )


def _by_cookie(keys: Keys, shown: str) -> KeyRecord | None:
    """The key of the page that shows a file; a cookie opens nothing else, and never beside a header."""
    if shown or request.endpoint not in SHOWN_BY_COOKIE:
        return None
    passes = state().passes
    key_id = None if passes is None else passes.holder(request.cookies.get(passes.name(), ""))
    return None if key_id is None else keys.get(key_id)


def _token(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _unauthorized(shown: str) -> Unauthorized:
    if not shown:
        return Unauthorized(
            "expected Authorization: Bearer ck-…, got no key; `chiasm keys create` makes one",
            "请求头应含 Authorization: Bearer ck-…，实际没有密钥；可用 `chiasm keys create` 创建",
            code="missing_api_key",
        )
    return Unauthorized(
        "expected a key of this server, got one that is unknown, revoked or expired",
        "应为此服务器的密钥，实际的密钥未知、已撤销或已过期",
    )


def _expect_closed(server: ServerSettings) -> None:
    """Without keys, also if the last one went while the server ran, only this machine may come in."""
    if not (server.allow_remote or is_loopback(host_name(server.host))):
        raise Forbidden(
            f"expected a key, but none exists, and {server.host} can be reached from elsewhere; "
            "`chiasm keys create` makes one",
            f"需要密钥，但尚无任何密钥，而 {server.host} 可从其他机器访问；可用 `chiasm keys create` 创建",
            code="no_keys",
        )
