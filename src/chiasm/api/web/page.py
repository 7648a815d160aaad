"""The blueprint: ``GET /``, its static files under ``/web/`` and its translations."""

import hashlib
from functools import cache
from pathlib import Path

from flask import (
    Blueprint,
    Response,
    current_app,
    jsonify,
    make_response,
    render_template,
    request,
    send_from_directory,
)

from chiasm.api.web.wording import LANGUAGES, Wording, choose_language, load_wording
from chiasm.errors import NotFound

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

STATIC = Path(__file__).parent / "static"
DOCUMENTS = ("/docs", "/openapi.json")  # linked where the application has them
A_YEAR = 31_536_000  # seconds

blueprint = Blueprint("web", __name__, template_folder="templates")


@blueprint.get("/")
def page() -> Response:
    """The page, already in the reader's language, so that nothing flashes while scripts load."""
    language = choose_language(request.cookies.get("chiasm_language"), request.accept_languages)
    routes = {rule.rule for rule in current_app.url_map.iter_rules()}
    response = make_response(
        render_template(
            "chiasm/page.html",
            wording=load_wording(language),
            language=language,
            version=version(),
            documents=[path for path in DOCUMENTS if path in routes],
        )
    )
    response.headers["Content-Language"] = language
    response.headers["Cache-Control"] = "no-cache"
    response.vary.update(["Accept-Language", "Cookie"])
    return response


@blueprint.get("/web/<given>/<path:name>")
def asset(given: str, name: str) -> Response:
    """A script, style sheet or drawing; browsers keep it for good: its address changes with its content."""
    response = send_from_directory(STATIC, name, max_age=A_YEAR)
    if given == version():
        response.cache_control.immutable = True
    else:  # a page from before an upgrade
        response.headers["Cache-Control"] = "no-cache"
    return response


@cache
def version() -> str:
    """A name for the present content of all static files."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*.*")):
        digest.update(f"{path.relative_to(STATIC).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@blueprint.get("/web/translations/<language>.json")
def translations(language: str) -> Response:
    """Every string of the page in one language.

    Raises:
        NotFound: a language that the page does not have.
    """
    if language not in LANGUAGES:
        raise NotFound(
            f"expected one of {', '.join(LANGUAGES)}, got {language!r}",
            f"可用的语言为 {', '.join(LANGUAGES)}，实际为 {language!r}",
            param="language",
        )
    wording: Wording = load_wording(language)
    response = jsonify(wording)
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.after_request
def harden(response: Response) -> Response:
    """Allow this page only what it needs, whatever a file name or a passage contains."""
    for name, value in SECURITY_HEADERS.items():
        response.headers[name] = value
    return response
