"""Whatever comes in, nothing answers with 5xx."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# fmt: off
KEY_LIST = [
    "input", "model", "messages", "content", "type", "text", "image", "audio", "video", "image_url",
    "url", "file", "file_id", "input_audio", "data", "format", "role", "labels", "template",
    "multi_label", "dimensions", "encoding_format", "query", "like", "filters", "key", "value",
    "max_num_results", "ranking_options", "score_threshold", "modalities", "name", "metadata",
    "file_ids", "attributes", "path", "user", "chunking_strategy", "expires_after", "queries", "documents",
    "top_n", "return_documents", "vector", "negative", "weights", "diversity", "page", "id",
]
WORD_LIST = [
    "red", "", "default", "colours", "text", "image_url", "file", "and", "eq", "in", "user",
    "base64", "float", "image", "data:,red", "data:image/png;base64,AAAA", "data:", "QUJD", "year",
    "auto", "\x00", "猫\u202e",
]
# fmt: on
KEYS = st.sampled_from(KEY_LIST)
WORDS = st.sampled_from(WORD_LIST)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS, st.text(max_size=6))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
BODIES = st.dictionaries(st.one_of(KEYS, st.text(max_size=4)), VALUES, max_size=6)
ROUTES = (
    "/v1/embeddings",
    "/v1/classify",
    "/v1/similarity",
    "/v1/rerank",
    "/v1/vqa",
    "/v1/explain",
    "/v1/locate",
    "/v1/vector_stores",
    "/v1/vector_stores/{s}",
    "/v1/vector_stores/{s}/files",
    "/v1/vector_stores/{s}/items",
    "/v1/vector_stores/{s}/search",
)
HEADERS = (
    "Host",
    "Origin",
    "Accept-Language",
    "Content-Type",
    "Range",
    "X-Request-Id",
    "Content-Encoding",
    "If-None-Match",
    "Sec-Fetch-Site",
    "Authorization",
)
DEFAULTS: dict[str, dict] = {
    "/v1/embeddings": {"input": "red"},
    "/v1/classify": {"input": "red", "labels": ["a", "b"]},
    "/v1/similarity": {"queries": "red", "documents": ["a", "b"]},
    "/v1/rerank": {"query": "red", "documents": ["a", "b"]},
    "/v1/vqa": {"input": "red", "question": "a"},
    "/v1/explain": {"input": "red", "target": "a"},
    "/v1/locate": {"input": "red", "query": "a"},
    "/v1/vector_stores/{s}/items": {"content": "red"},
    "/v1/vector_stores/{s}/search": {"query": "red"},
    "/v1/vector_stores/{s}/files": {"file_id": "file-none"},
}
MANY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check(response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert set(response.json["error"]) == {"message", "type", "param", "code"}


def random_value(dice: random.Random, depth: int = 0) -> object:
    """As VALUES, but by the thousand."""
    kind = dice.random()
    if depth < 4 and kind < 0.25:
        return {dice.choice(KEY_LIST): random_value(dice, depth + 1) for _ in range(dice.randrange(4))}
    if depth < 4 and kind < 0.45:
        return [random_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return dice.choice([None, True, False, dice.randrange(-9, 99), dice.random(), 10**25, *WORD_LIST])


@pytest.mark.parametrize("route", ROUTES)
def test_thousands_of_random_bodies(client, route):
    dice = random.Random(route)
    store = client.post("/v1/vector_stores", json={}).json["id"]
    for _ in range(400):
        body = {dice.choice(KEY_LIST): random_value(dice) for _ in range(dice.randrange(5))}
        if dice.random() < 0.7:
            body = {**DEFAULTS.get(route, {}), **body}
        sent = json.dumps(body)
        check(client.post(route.format(s=store), data=sent, content_type="application/json"))


@pytest.mark.parametrize("route", ROUTES)
def test_random_bodies(client, route):
    store = client.post("/v1/vector_stores", json={}).json["id"]
    defaults = DEFAULTS.get(route, {})

    @MANY
    @given(body=BODIES, whole=st.booleans())
    def run(body: dict, whole: bool) -> None:
        sent = json.dumps(body if whole else {**defaults, **body})  # NaN and lone surrogates go out, too
        check(client.post(route.format(s=store), data=sent, content_type="application/json"))

    run()


def test_random_bytes_headers_and_queries(client):
    names = st.sampled_from(HEADERS)
    text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)

    @MANY
    @given(
        body=st.binary(max_size=40),
        kind=st.sampled_from(
            ["application/json", "multipart/form-data; boundary=b", "multipart/form-data", "text/plain"]
        ),
        headers=st.dictionaries(names, text, max_size=3),
        query=text,
        path=st.sampled_from(
            ["/v1/embeddings", "/v1/files", "/v1/vector_stores", "/v1/jobs", "/v1/models/x", "/"]
        ),
        method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    )
    def run(*, body, kind, headers, query, path, method) -> None:
        check(
            client.open(
                path, method=method, data=body, query_string=query, headers={"Content-Type": kind, **headers}
            )
        )

    run()
