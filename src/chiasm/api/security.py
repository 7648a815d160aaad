"""Who may reach the server, and what a browser may do with its answers.

While no keys exist the server listens on loopback only. A web page elsewhere can still make the user's
browser send requests to it; ``Host``, ``Origin`` and ``Sec-Fetch-Site`` tell those apart.
"""

import ipaddress
import re
import secrets
from urllib.parse import urlsplit

from flask import Flask, Response, g, request

from chiasm.errors import Forbidden
from chiasm.settings import ServerSettings

LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@\s]+)(:[0-9]{1,5})?")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
FILE_POLICY = (
    "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
}


def register_security(app: Flask, server: ServerSettings) -> None:
    """Name every request, refuse those from elsewhere, and send the headers that browsers obey."""

    @app.before_request
    def admit() -> None:
        g.request_id = request_id_of(request.headers.get("X-Request-Id", ""))
        check_host(request.headers.get("Host", ""), server)
        check_origin(request.headers.get("Origin"), request.headers.get("Host", ""))
        check_site(
            request.headers.get("Sec-Fetch-Site"), request.headers.get("Sec-Fetch-Mode"), request.method
        )

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("request_id") or request_id_of("")
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        policy = PAGE_POLICY if response.mimetype == "text/html" else DATA_POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def request_id_of(given: str) -> str:
    """The id that the caller gave the request, or a new one if that is none."""
    return given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def is_loopback(name: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if name in LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def check_host(header: str, server: ServerSettings) -> None:
    """Refuse names that are not ours: a name that was made to point here (DNS rebinding) is not.

    Raises:
        Forbidden: anything but loopback names, the bound address and ``server.allowed_hosts``.
    """
    name = host_name(header)
    allowed = {host_name(entry) for entry in (server.host, *server.allowed_hosts)} - {""}
    bound = _address(host_name(server.host))
    # an address typed as such cannot have been rebound; with a wildcard every own address is the bound one
    typed = bound is not None and bound.is_unspecified and _address(name) is not None
    if not name or not (is_loopback(name) or name in allowed or typed):
        raise Forbidden(
            f"expected a Host that is loopback, {server.host} or one of server.allowed_hosts, "
            f"got {header[:100]!r}",
            f"Host 应为本机、{server.host} 或列在 server.allowed_hosts 中，实际为 {header[:100]!r}",
            param="Host",
            code="host_not_allowed",
        )


def check_origin(origin: str | None, host: str) -> None:
    """Refuse requests that another site's page makes.

    Raises:
        Forbidden: an ``Origin`` whose host and port are not the request's own.
    """
    if origin is None:
        return
    try:
        split = urlsplit(origin)
        same = split.scheme in {"http", "https"} and split.netloc.lower() == host.lower()
    except ValueError:
        same = False
    if not same:
        raise _cross_site("Origin", origin)


def check_site(site: str | None, mode: str | None, method: str) -> None:
    """Refuse what browsers mark as coming from another site, save a person's following of a link.

    Raises:
        Forbidden: such a request.
    """
    if site in {"cross-site", "same-site"} and not (mode == "navigate" and method in {"GET", "HEAD"}):
        raise _cross_site("Sec-Fetch-Site", site)


def host_name(header: str) -> str:
    """The name in a ``Host`` header, lower case, without port, brackets and final dot; empty if malformed."""
    if ":" in header and _address(header) is not None:  # a bare IPv6 address, as settings have it
        return header.lower()
    match = _HOST.fullmatch(header)
    return match[1].strip("[]").lower().rstrip(".") if match else ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _cross_site(header: str, got: str) -> Forbidden:
    return Forbidden(
        f"expected a request from this server's own pages, got {header}: {got[:100]}",
        f"只接受来自本服务器页面的请求，实际 {header} 为 {got[:100]}",
        param=header,
        code="cross_site",
    )


def require_local() -> None:
    """A caller on this machine, not one for whom a proxy on this machine speaks.

    Raises:
        Forbidden: anybody else.
    """
    try:
        near = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        near = False
    forwarded = any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"))
    if not near or forwarded or not is_loopback(host_name(request.headers.get("Host", ""))):
        raise Forbidden(
            "folders and models of this machine can only be chosen from this machine",
            "只能从本机选择本机的文件夹和模型",
            code="local_only",
        )
