"""Requests without a network: the lines of a batch, answered by the application itself."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec
from flask import Flask

from chiasm.api.admission import ON_BEHALF
from chiasm.api.bodies import parse_json
from chiasm.api.validation import expected, missing, unknown
from chiasm.errors import ChiasmError

LINE_FIELDS = ("custom_id", "method", "url", "body")
BUSY = {429, 503}
MOST_TRIES, LONGEST_PAUSE = 60, 10.0
LONGEST_WAIT = 120.0  # seconds; a budget of today is not waited for


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A line of a batch."""

    custom_id: str
    body: Mapping[str, Any]


def read_line(data: bytes, endpoint: str) -> Asked:
    """A line ``{"custom_id", "method": "POST", "url", "body"}``.

    Raises:
        InvalidInput: it is not one, or it asks another endpoint than the batch.
    """
    value = parse_json(data)
    if not isinstance(value, dict):
        raise expected("an object", "对象", value, "line")
    for name in value:
        if name not in LINE_FIELDS:
            raise unknown(name[:200], ", ".join(LINE_FIELDS))
    for name in LINE_FIELDS:
        if name not in value:
            raise missing(name)
    if not isinstance(value["custom_id"], str) or not value["custom_id"]:
        raise expected("a string", "字符串", value["custom_id"], "custom_id")
    if value["method"] != "POST":
        raise expected("POST", " POST", value["method"], "method")
    if value["url"] != endpoint:
        raise expected(f"{endpoint}, as the batch", f"与批次相同的 {endpoint}", value["url"], "url")
    if not isinstance(value["body"], dict):
        raise expected("an object", "对象", value["body"], "body")
    return Asked(custom_id=value["custom_id"], body=value["body"])


class Offline:
    """Answers the lines of batches through an application, as if each had come over HTTP.

    Args:
        app: the application.
        key_id: of the key for which they are answered; empty where none was needed.
        sleep: waits so many seconds, while the engine is busy.
    """

    def __init__(self, app: Flask, *, key_id: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        self._app = app
        self._environ = {ON_BEHALF: key_id}
        self._sleep = sleep

    def answer(self, data: bytes, endpoint: str) -> tuple[bool, bytes]:
        """The line of the output that belongs to a line of the input, and whether it is a success."""
        result: dict[str, Any] = {"id": f"batch_req_{uuid4().hex}", "custom_id": None, "response": None}
        try:
            asked = read_line(data, endpoint)
        except ChiasmError as error:
            message = f"{error.param}: {error.en}" if error.param else error.en
            failure = {"code": error.code, "message": message}
            return False, msgspec.json.encode({**result, "error": failure})
        status, request_id, body = self._post(endpoint, asked.body)
        response = {"status_code": status, "request_id": request_id, "body": body}
        answered = {**result, "custom_id": asked.custom_id, "response": response, "error": None}
        return status == 200, msgspec.json.encode(answered)

    def _post(self, endpoint: str, body: Mapping[str, Any]) -> tuple[int, str | None, Any]:
        client = self._app.test_client(use_cookies=False)
        for attempt in range(MOST_TRIES):
            with client.post(endpoint, json=body, environ_overrides=self._environ) as response:
                status, headers, answer = response.status_code, response.headers, response.get_json()
            pause = float(headers.get("Retry-After", 1))
            if status not in BUSY or attempt + 1 == MOST_TRIES or pause > LONGEST_WAIT:
                break
            self._sleep(min(pause, LONGEST_PAUSE))
        return status, headers.get("X-Request-Id"), answer
