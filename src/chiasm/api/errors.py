"""The one place where an error becomes a status and OpenAI's error JSON."""

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from flask import Flask, Response, g, json, request
from werkzeug.datastructures import LanguageAccept
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from chiasm import errors
from chiasm.errors import ChiasmError, Language
from chiasm.stores.trouble import NO_ROOM, full

logger = logging.getLogger(__name__)

STATUS: Mapping[type[ChiasmError], int] = {
    errors.InvalidInput: 400,
    errors.FetchFailed: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.RateLimited: 429,
    errors.CallerLeft: 499,  # nginx's number; nobody reads it
    errors.Overloaded: 503,
    errors.StoreError: 503,
    errors.DeadlineExceeded: 504,
    errors.StorageFull: 507,
}
RETRY_AFTER = 1.0  # seconds, when the error does not say

_HTTP_ZH = {
    400: "请求格式有误",
    404: "没有此地址",
    405: "此地址不支持该方法",
    406: "无法给出所要求的格式",
    408: "请求超时",
    411: "需要 Content-Length",
    413: "请求体过大",
    414: "地址过长",
    415: "不支持的内容类型",
    416: "请求的范围无效",
    417: "无法满足 Expect 请求头",
    431: "请求头过大",
}
_HTTP_CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media",
    416: "range_not_satisfiable",
}


def status_of(error: ChiasmError) -> int:
    """The HTTP status of an error: that of its nearest class in :data:`STATUS`, else 500."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def language() -> Language:
    """What the caller of the present request wants to read."""
    return language_of(request.accept_languages)


def language_of(accepted: LanguageAccept) -> Language:
    """What someone wants to read by their ``Accept-Language``; English unless Chinese comes first."""
    for name, quality in accepted:  # best first
        primary = name.lower().replace("_", "-").partition("-")[0]
        if quality > 0 and primary in {"zh", "en"}:
            return "zh" if primary == "zh" else "en"
    return "en"


def body_of(message: str, kind: str, param: str | None, code: str) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_body(error: ChiasmError) -> dict[str, Any]:
    """OpenAI's error object of an error, in the caller's language."""
    message = error.message(language())
    if error.param and status_of(error) < 500:
        message = f"{error.param}: {message}"
    return body_of(message, error.kind, error.param, error.code)


def response_of(error: ChiasmError) -> Response:
    """The whole answer to a request that failed with ``error``."""
    status = status_of(error)
    g.failure = error.code
    response = _json(error_body(error), status)
    if status in {429, 503}:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after or RETRY_AFTER)))
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def register_errors(app: Flask) -> None:
    """Answer every failure below this application in the one shape."""
    app.register_error_handler(ChiasmError, _chiasm_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _chiasm_error(error: ChiasmError) -> Response:
    g.code = error.code
    if status_of(error) == 500:
        logger.error("request %s failed: %s", g.get("request_id"), error.en, exc_info=error)
    return response_of(error)


def _http_error(error: HTTPException) -> Response:
    if isinstance(error, RequestRedirect) or error.code is None:
        return cast(Response, Response.force_type(error.get_response(), request.environ))
    status = error.code
    english = error.description or error.name
    if status == 404:
        english = f"there is nothing at {request.method} {request.path[:200]}"
    elif status == 405:
        english = f"{request.path[:200]} does not take {request.method}"
    zh = _HTTP_ZH.get(status, "请求未能完成")
    kind = "invalid_request_error" if status < 500 else "server_error"
    code = _HTTP_CODES.get(status, error.name.lower().replace(" ", "_"))
    g.failure = code
    response = _json(body_of(zh if language() == "zh" else english, kind, None, code), status)
    for name, value in error.get_headers(request.environ):
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    if isinstance(error, OSError) and error.errno in NO_ROOM:  # while a form's parts were written down
        return response_of(full(error.filename or "library.data_dir"))
    logger.exception("request %s failed unexpectedly", g.get("request_id"), exc_info=error)
    return response_of(
        ChiasmError(
            f"internal error; the log has the details under {g.get('request_id')}",
            f"内部错误，详情见日志（编号 {g.get('request_id')}）",
        )
    )


def _json(body: Mapping[str, Any], status: int) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")


class LastResort:
    """WSGI middleware: what fails outside Flask's own error handling is answered in the same shape."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes] | Any:
        """The application's answer, or a 500."""
        try:
            return self._application(environ, start_response)
        except Exception:  # the outermost frame of a request; it is logged and answered
            logger.exception("a request failed outside the application")
            body = json.dumps(body_of("internal error", "server_error", None, "internal_error")).encode()
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            start_response("500 Internal Server Error", headers)
            return [body]
