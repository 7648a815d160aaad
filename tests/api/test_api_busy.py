"""A refusal without Flask says what one through Flask says."""

import json
import logging

import pytest

from chiasm.api import busy
from chiasm.api.busy import Busy
from chiasm.api.errors import response_of
from chiasm.errors import Overloaded
from chiasm.observe.metrics import Metrics


@pytest.fixture
def metrics():
    return Metrics()


@pytest.mark.parametrize("language", ["en", "zh-CN,zh;q=0.9", "fr, en;q=0.1", ""])
def test_it_is_the_answer_that_flask_would_give(app, metrics, language):
    given = {"accept-language": language, "x-request-id": "mine-1"}
    status, headers, body = Busy(app, metrics)("POST", "/v1/embeddings", given)
    error = Overloaded(
        "the server works on other requests", "服务器正在处理其他请求", code="busy", retry_after=2.0
    )
    with app.test_request_context("/v1/embeddings", headers=given):
        app.preprocess_request()
        expected = app.process_response(response_of(error))
    assert (status, json.loads(body)) == (expected.status_code, expected.get_json())
    assert dict(headers) == dict(expected.headers)


def test_what_is_asked_with_head_has_no_body(app, metrics):
    _, headers, body = Busy(app, metrics)("HEAD", "/v1/models", {})
    assert (body, dict(headers)["X-Request-Id"].startswith("req_")) == (b"", True)


def test_refusals_are_counted_by_route_and_logged_together(app, metrics, caplog, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(busy.time, "monotonic", lambda: now[0])
    refuse = Busy(app, metrics)
    with caplog.at_level(logging.WARNING):
        for path in ("/v1/files/file_1", "/v1/files/file_2", "/made/up"):
            refuse("GET", path, {})
        now[0] += busy.LOG_SECONDS
        refuse("BREW", "/v1/files/file_3", {})

    def counted(method, route):
        return metrics.requests.labels(method, route, "503")._value.get()

    assert counted("GET", "/v1/files/{file_id}") == 2
    assert counted("GET", "unmatched") == 1
    assert counted("other", "unmatched") == 1
    assert metrics.rejected.labels("busy")._value.get() == 4
    assert [record.args for record in caplog.records] == [(1,), (3,)]
