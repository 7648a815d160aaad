"""What a request is told for which there is neither a thread nor a place to wait: at once, and without Flask.

A refusal that costs what an answer costs would make an overload worse.
"""

import json
import logging
import math
import time
from collections.abc import Mapping
from typing import NamedTuple

from flask import Flask
from werkzeug.datastructures import LanguageAccept
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_accept_header
from werkzeug.routing import RequestRedirect

from chiasm.api.errors import body_of, language_of
from chiasm.api.security import DATA_POLICY, HEADERS, request_id_of
from chiasm.api.watching import UNMATCHED, known_method, template_of
from chiasm.errors import Overloaded
from chiasm.observe.metrics import Metrics

logger = logging.getLogger(__name__)

STATUS = 503
RETRY_AFTER = 2.0  # seconds
LOG_SECONDS = 1.0  # a line for all that were refused meanwhile


class Refusal(NamedTuple):
    """A whole answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Busy:
    """Refuses requests, counts them as all others are counted, and logs how many they were.

    Args:
        app: knows the routes.
        metrics: where refusals count.
    """

    def __init__(self, app: Flask, metrics: Metrics) -> None:
        self._addresses = app.url_map.bind("localhost")
        self._metrics = metrics
        self._error = Overloaded(
            "the server works on other requests",
            "服务器正在处理其他请求",
            code="busy",
            retry_after=RETRY_AFTER,
        )
        self._unlogged = 0
        self._logged_at = -math.inf

    def __call__(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal:
        """The answer to a request that is refused, which is counted by this.

        Args:
            method: of the request.
            path: decoded, without the query.
            headers: by their names in lower case.
        """
        self._count(method, path)
        message = self._error.message(
            language_of(parse_accept_header(headers.get("accept-language"), LanguageAccept))
        )
        body = json.dumps(body_of(message, self._error.kind, None, self._error.code), ensure_ascii=False)
        content = body.encode()
        return Refusal(
            STATUS,
            [
                *HEADERS.items(),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(content))),
                ("Content-Security-Policy", DATA_POLICY),
                ("Cache-Control", "no-store"),
                ("Retry-After", f"{RETRY_AFTER:.0f}"),
                ("X-Request-Id", request_id_of(headers.get("x-request-id", ""))),
            ],
            b"" if method == "HEAD" else content,
        )

    def _count(self, method: str, path: str) -> None:
        self._metrics.requests.labels(known_method(method), self._route(method, path), str(STATUS)).inc()
        self._metrics.rejected.labels(self._error.code).inc()
        self._unlogged += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_SECONDS:
            logger.warning("%d requests refused: all threads and places are taken", self._unlogged)
            self._unlogged, self._logged_at = 0, now

    def _route(self, method: str, path: str) -> str:
        try:
            rule, _ = self._addresses.match(path, method, return_rule=True)
        except (HTTPException, RequestRedirect):
            return UNMATCHED
        return template_of(rule)
