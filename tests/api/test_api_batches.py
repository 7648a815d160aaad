"""The lines of a batch, answered by the application."""

import json

import pytest

from chiasm.api.offline import Offline
from chiasm.errors import Overloaded

GOOD = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": "red"}}


def answered(app, line: object, **options) -> tuple[bool, dict]:
    data = line if isinstance(line, bytes) else json.dumps(line).encode()
    success, result = Offline(app, **options).answer(data, "/v1/embeddings")
    return success, json.loads(result)


def test_a_line_gets_what_http_would_have_got(app, client):
    success, result = answered(app, GOOD)
    assert success
    assert (result["custom_id"], result["error"]) == ("a", None)
    assert result["response"]["status_code"] == 200
    there = client.post("/v1/embeddings", json=GOOD["body"])
    assert result["response"]["body"] == there.json


def test_a_request_that_is_refused_is_a_failure_with_its_answer(app):
    success, result = answered(app, {**GOOD, "body": {"input": 7}})
    assert not success
    assert result["response"]["status_code"] == 400
    assert result["response"]["body"]["error"]["param"] == "input"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"{", "JSON"),
        (b"[1]", "an object"),
        ({**GOOD, "url": "/v1/files"}, "url"),
        ({**GOOD, "method": "DELETE"}, "method"),
        ({**GOOD, "custom_id": 1}, "custom_id"),
        ({**GOOD, "body": "x"}, "body"),
        ({**GOOD, "more": 1}, "more"),
        ({k: v for k, v in GOOD.items() if k != "body"}, "body"),
    ],
)
def test_a_line_that_is_no_request_says_why(app, line, named):
    success, result = answered(app, line)
    assert not success
    assert result["response"] is None
    assert named in result["error"]["message"]


def test_a_busy_engine_is_waited_for(app, model):
    model.failure = Overloaded("full", "满", retry_after=3.0)
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            model.failure = None

    success, _ = answered(app, GOOD, sleep=sleep)
    assert success
    assert waited == [3.0, 3.0]


def test_a_file_of_another_purpose_is_refused(client, app):
    library = app.extensions["chiasm"].context.library
    kept = library.upload_file(b"{}", "x.jsonl", purpose="user_data")
    body = {"input_file_id": kept.id, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    response = client.post("/v1/batches", json=body)
    assert (response.status_code, response.json["error"]["param"]) == (400, "input_file_id")
    response = client.post("/v1/batches", json={**body, "endpoint": "/v1/chat/completions"})
    assert response.json["error"]["param"] == "endpoint"
    assert client.get("/v1/batches/batch_none").status_code == 404
