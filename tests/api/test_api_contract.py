"""What holds of every route."""

import inspect
import json
import re
from pathlib import Path

import pytest
from api_fakes import settings_for
from flask import Flask

from chiasm.api.errors import STATUS, status_of
from chiasm.errors import ChiasmError
from chiasm.settings import Limits, ServerSettings

ROOT = Path(__file__).parents[2]
JSON_ROUTES = [
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/classify"),
    ("POST", "/v1/similarity"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/vqa"),
    ("POST", "/v1/explain"),
    ("POST", "/v1/locate"),
    ("POST", "/v1/batches"),
    ("POST", "/v1/vector_stores"),
    ("POST", "/v1/vector_stores/{store}"),
    ("POST", "/v1/vector_stores/{store}/files"),
    ("POST", "/v1/vector_stores/{store}/files/file-x"),
    ("POST", "/v1/vector_stores/{store}/folders"),
    ("POST", "/v1/vector_stores/{store}/items"),
    ("PUT", "/v1/vector_stores/{store}/items/a"),
    ("POST", "/v1/vector_stores/{store}/search"),
]
LIST_ROUTES = [
    "/v1/files",
    "/v1/vector_stores",
    "/v1/vector_stores/{store}/files",
    "/v1/vector_stores/{store}/items",
]


@pytest.fixture
def store(client) -> str:
    return client.post("/v1/vector_stores", json={"name": "s"}).json["id"]


def routes(app: Flask) -> list[tuple[str, str]]:
    return [
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        if not rule.endpoint.startswith("web.")
    ]


def is_error(response, status: int) -> dict:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/json"
    assert set(response.json["error"]) == {"message", "type", "param", "code"}
    assert response.json["error"]["message"]
    assert response.headers["X-Request-Id"]
    return response.json["error"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_route_is_documented(app, language):
    text = (ROOT / "docs" / language / "api.md").read_text(encoding="utf-8")
    written = set(re.findall(r"`(GET|POST|PUT|DELETE) (/[^`?\s]*)`", text))
    real = {(method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)) for method, rule in routes(app)}
    assert {(m, re.sub(r"\{\w+\}", "{}", r)) for m, r in real} == {
        (m, re.sub(r"\{\w+\}", "{}", r)) for m, r in written
    }


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_limit_and_every_field_is_documented(language):
    from chiasm.api.schemas import base, batches, files, items, stores, tasks

    text = (ROOT / "docs" / language / "api.md").read_text(encoding="utf-8")
    for name in Limits.__dataclass_fields__:
        assert f"`limits.{name}`" in text
    for module in (tasks, stores, files, items, batches):
        for schema in vars(module).values():
            if inspect.isclass(schema) and issubclass(schema, base.Body | base.QueryString):
                for name in schema.model_fields:
                    assert f"`{name}`" in text, f"{schema.__name__}.{name}"


def test_every_error_has_a_status():
    kinds = ChiasmError.__subclasses__()
    assert all(400 <= status_of(kind("a", "b")) < 600 for kind in kinds)
    assert {status_of(kind("a", "b")) for kind in STATUS} == set(STATUS.values())


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b"7", "application/json", 400),
        (b'"\xff"', "application/json", 400),
        (b'{"input": NaN}', "application/json", 400),
        (b'{"input": Infinity}', "application/json", 400),
        (b'{"input": 1e999}', "application/json", 400),
        (b'{"input": "\\ud800"}', "application/json", 400),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"input": "red"}', "text/plain", 415),
        (b'{"input": "red"}', "application/x-www-form-urlencoded", 415),
        (b'{"nobody_documents_this": 1}', "application/json", 400),
        (b'{"input": "' + b"a" * 200_000 + b'"}', "application/json", 413),
    ],
)
def test_bodies_that_are_no_json_objects_of_ours(client, store, *, method, path, body, kind, status):
    if path == "/v1/vector_stores" and not body:
        pytest.skip("a store without a name needs no body")
    is_error(client.open(path.format(store=store), method=method, data=body, content_type=kind), status)


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
def test_an_unknown_field_is_named(client, store, method, path):
    found = is_error(client.open(path.format(store=store), method=method, json={"colour_of": 1}), 400)
    assert found["param"] == "colour_of"
    assert found["code"] == "unknown_field"


def test_the_first_of_equal_keys_is_no_error(client):
    body = b'{"input": "red", "input": "blue"}'
    assert client.post("/v1/embeddings", data=body, content_type="application/json").status_code == 200


def test_a_byte_order_mark_is_no_error(client):
    body = b'\xef\xbb\xbf{"input": "red"}'
    assert client.post("/v1/embeddings", data=body, content_type="application/json").status_code == 200


def test_a_compressed_body_is_refused_by_name(client):
    response = client.post("/v1/embeddings", json={"input": "a"}, headers={"Content-Encoding": "gzip"})
    assert is_error(response, 415)["param"] == "Content-Encoding"


@pytest.mark.parametrize("path", LIST_ROUTES)
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("colour=red", "colour"),
        ("limit=99999", "limit"),
    ],
)
def test_lists_name_what_is_wrong_with_their_query(client, store, path, query, param):
    assert is_error(client.get(f"{path.format(store=store)}?{query}"), 400)["param"] == param


def test_every_route_refuses_other_methods(app, client):
    rules = {rule.rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith("web.")}
    for rule in rules:
        response = client.open(re.sub(r"<\w+>", "x", rule), method="PATCH")
        assert is_error(response, 405)["code"] == "method_not_allowed"
        assert response.headers["Allow"]


def test_nothing_answers_a_pre_flight_of_another_site(client):
    response = client.open("/v1/embeddings", method="OPTIONS")
    assert not any(name.lower().startswith("access-control") for name, _ in response.headers)
    assert response.status_code == 405


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/nothing", "/v1/embeddings/x", "/v1//models", "/v1/caption", "/%00"]
)
def test_what_is_not_there_is_404_in_the_same_shape(client, path):
    is_error(client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files/none"), ("DELETE", "/v1/files/none"), ("GET", "/v1/files/none/content"),
        ("GET", "/v1/files/none/thumbnail"), ("GET", "/v1/vector_stores/none"),
        ("DELETE", "/v1/vector_stores/none"),
        ("GET", "/v1/vector_stores/none/files"), ("GET", "/v1/vector_stores/{store}/files/none"),
        ("DELETE", "/v1/vector_stores/{store}/files/none"), ("GET", "/v1/jobs/none"),
        ("GET", "/v1/models/none"),
    ],
)  # fmt: skip
def test_what_is_named_but_not_there_is_404(client, store, method, path):
    is_error(client.open(path.format(store=store), method=method), 404)


def test_chinese_for_those_who_ask(client):
    zh = {"Accept-Language": "zh-Hans-CN, en;q=0.5"}
    assert "请求体" in is_error(client.post("/v1/embeddings", json=[], headers=zh), 400)["message"]
    assert "地址" in is_error(client.get("/v1/nothing", headers=zh), 404)["message"]
    assert "方法" in is_error(client.delete("/v1/embeddings", headers=zh), 405)["message"]
    assert "没有此字段" in is_error(client.post("/v1/embeddings", json={"x": 1}, headers=zh), 400)["message"]
    assert (
        "there is"
        in is_error(client.get("/v1/nothing", headers={"Accept-Language": "zh;q=0, de"}), 404)["message"]
    )


def test_request_ids_are_taken_if_sane_and_made_otherwise(client):
    def given(name: str) -> str:
        return client.get("/v1/models", headers={"X-Request-Id": name}).headers["X-Request-Id"]

    assert given("abc-123") == "abc-123"
    for odd in ("", "a b", "x" * 200, "é"):
        assert re.fullmatch(r"req_[0-9a-f]{24}", given(odd))


def test_any_authorization_is_accepted_while_there_are_no_keys(client):
    for value in ("Bearer sk-anything", "Basic eDp5", ""):
        assert client.get("/v1/models", headers={"Authorization": value}).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:8000", "127.8.8.8", "[::1]:9", "a.localhost."]
)
def test_loopback_hosts_are_ours(client, host):
    assert client.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["example.org", "localhost.example.org", "192.168.1.7", "", "a b", "[::2]", "127.0.0.1@x"]
)
def test_other_hosts_are_not(client, host):
    assert is_error(client.get("/v1/models", headers={"Host": host}), 403)["param"] == "Host"


def test_hosts_can_be_allowed(make_app, tmp_path):
    server = ServerSettings(host="media.lan", allowed_hosts=("photos.example.org",))
    client = make_app(settings_for(tmp_path / "d", server=server)).test_client()
    assert client.get("/v1/models", headers={"Host": "media.lan:8000"}).status_code == 200
    assert client.get("/v1/models", headers={"Host": "photos.example.org"}).status_code == 200
    is_error(client.get("/v1/models", headers={"Host": "example.org"}), 403)


def test_a_server_that_listens_everywhere_takes_addresses_but_not_names(make_app, tmp_path):
    server = ServerSettings(host="0.0.0.0", allow_remote=True)
    client = make_app(settings_for(tmp_path / "d", server=server)).test_client()
    assert client.get("/v1/models", headers={"Host": "192.168.1.7:8000"}).status_code == 200
    is_error(client.get("/v1/models", headers={"Host": "rebound.example.org"}), 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://[bad"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_other_sites_pages_are_kept_out(client, headers):
    assert is_error(client.get("/v1/models", headers=headers), 403)["code"] == "cross_site"


def test_own_pages_and_followed_links_come_in(client):
    for headers in (
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ):
        assert client.get("/v1/models", headers=headers).status_code == 200
    posted = client.post(
        "/v1/embeddings",
        json={"input": "a"},
        headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    )
    is_error(posted, 403)


def test_answers_carry_the_headers_that_protect(client):
    headers = client.get("/v1/models").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"


def test_the_page_is_served_and_protected(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert "unsafe" not in page.headers["Content-Security-Policy"]


def test_models(client):
    listed = client.get("/v1/models").json
    assert listed["object"] == "list"
    [model] = listed["data"]
    assert model == client.get("/v1/models/colours").json == client.get("/v1/models/default").json
    assert set(model) >= {
        "id", "object", "created", "owned_by", "capabilities", "modalities", "dimensions", "context_length",
        "backend", "revision", "licence", "metrics",
    }  # fmt: skip
    assert json.dumps(model)


def test_trailing_slashes_are_no_matter(client):
    assert client.get("/v1/models/").status_code == 200
