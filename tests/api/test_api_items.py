"""/v1/vector_stores/{id}/items."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from api_fakes import DIMENSIONS, picture, settings_for

from chiasm.errors import Overloaded
from chiasm.settings import ServerSettings


@pytest.fixture
def store(client) -> str:
    return client.post("/v1/vector_stores", json={"name": "items"}).json["id"]


def coded(colour: str) -> dict[str, str]:
    return {"image": base64.b64encode(picture(colour)).decode()}


def put(client, store: str, item_id: str, **body):
    return client.put(f"/v1/vector_stores/{store}/items/{item_id}", json=body)


def bulk(client, store: str, *items: object, query: str = "", raw: bytes | None = None):
    body = raw if raw is not None else b"\n".join(json.dumps(item).encode() for item in items)
    return client.post(
        f"/v1/vector_stores/{store}/items{query}", data=body, content_type="application/x-ndjson"
    )


def found(client, store: str, **body) -> list[dict]:
    body = {"ranking_options": {"score_threshold": 0}, **body}
    response = client.post(f"/v1/vector_stores/{store}/search", json=body)
    assert response.status_code == 200, response.text
    return response.json["data"]


def content(client, hit: dict) -> bytes:
    with client.get(hit["media"]["url"]) as response:
        return response.data


def ids(hits: list[dict]) -> list[str]:
    return [hit["media"]["item_id"] for hit in hits]


def test_an_item_is_put_found_read_and_deleted(client, store):
    response = put(client, store, "sku 7", content=["red", coded("red")], attributes={"price": 3.5})
    assert response.status_code == 200, response.text
    assert (response.json["id"], response.json["status"], response.json["modality"]) == (
        "sku 7",
        "created",
        "mixed",
    )
    put(client, store, "b", content="blue")
    [first, _] = found(client, store, query="red")
    assert (first["media"]["item_id"], first["attributes"], first["content"][0]["text"]) == (
        "sku 7",
        {"price": 3.5},
        "red",
    )
    assert content(client, first) == picture("red")
    assert client.get(f"/v1/vector_stores/{store}/items/sku 7").json["attributes"] == {"price": 3.5}
    assert client.delete(f"/v1/vector_stores/{store}/items/sku 7").json["deleted"] is True
    assert client.get(f"/v1/vector_stores/{store}/items/sku 7").status_code == 404
    assert ids(found(client, store, query="red")) == ["b"]


def test_what_was_put_before_is_replaced_with_its_content(client, store, app):
    put(client, store, "a", content=coded("red"))
    [hit] = found(client, store, query="red")
    again = put(client, store, "a", content=coded("green"))
    assert again.json["status"] == "replaced"
    [after] = found(client, store, query="green")
    assert (after["file_id"], ids([after])) == (hit["file_id"], ["a"])
    assert content(client, after) == picture("green")
    files = app.extensions["chiasm"].context.settings.library.data_dir / "files"
    assert picture("red") not in {path.read_bytes() for path in files.rglob("*") if path.is_file()}


def test_vectors_of_ones_own_in_dimensions_of_ones_own(client, store):
    rows = np.eye(3, 5).tolist()
    for name, row in zip("abc", rows, strict=True):
        assert put(client, store, name, vector=row, modality="image").status_code == 200
    hits = found(client, store, vector=[0.1, 2.0, 0.5, 0, 0])
    assert ids(hits) == ["b", "c", "a"]
    assert hits[0]["media"]["cosine"] == pytest.approx(2 / np.linalg.norm([0.1, 2, 0.5]), abs=2e-3)
    refused = client.post(f"/v1/vector_stores/{store}/search", json={"query": "red"})
    assert (refused.status_code, refused.json["error"]["code"]) == (409, "model_revision_mismatch")
    assert put(client, store, "d", content="red").status_code == 409


def test_vectors_of_the_model_s_own_size_live_with_embedded_content(client, store):
    vector = client.post("/v1/embeddings", json={"input": "red"}).json["data"][0]["embedding"]
    assert len(vector) == DIMENSIONS
    put(client, store, "mine", vector=vector)
    put(client, store, "theirs", content="blue")
    assert ids(found(client, store, query="red")) == ["mine", "theirs"]


def test_many_lines_each_with_its_own_result(client, store):
    response = bulk(
        client,
        store,
        {"id": "a", "content": "red"},
        {"id": "b", "content": coded("blue"), "attributes": {"n": 1}},
        {"id": "c", "content": {"image": "%%%"}},
        {"id": "d"},
        {"id": "e", "content": "green", "colour": 1},
        ["no object"],
        {"content": "green"},
        {"id": "v", "vector": [1.0] * DIMENSIONS},
    )
    assert response.status_code == 200, response.text
    by_line = {result["line"]: result for result in response.json["data"]}
    assert {n: r["status"] for n, r in by_line.items()} == {
        1: "created", 2: "created", 3: "failed", 4: "failed",
        5: "failed", 6: "failed", 7: "created", 8: "created",
    }  # fmt: skip
    assert by_line[3]["error"]["param"] == "content.image"
    assert by_line[5]["error"]["code"] == "unknown_field"
    assert by_line[7]["id"].startswith("item-")
    assert response.json["counts"] == {"created": 4, "replaced": 0, "kept": 0, "conflict": 0, "failed": 4}
    assert (response.json["has_more"], response.json["next_line"]) == (False, None)
    assert ids(found(client, store, query="blue"))[0] == "b"


def test_lines_that_are_no_json_fail_alone(client, store):
    response = bulk(
        client, store, raw=b'{"id": "a", "content": "red"}\n\n{"id": \n\xff\n{"id":"b","content":"blue"}'
    )
    assert [(r["line"], r["status"]) for r in sorted(response.json["data"], key=lambda r: r["line"])] == [
        (1, "created"), (3, "failed"), (4, "failed"), (5, "created"),
    ]  # fmt: skip


def test_sending_lines_again_changes_nothing(client, store):
    lines = [{"id": str(n), "content": "red"} for n in range(40)]
    assert bulk(client, store, *lines).json["counts"]["created"] == 40
    assert bulk(client, store, *lines).json["counts"]["replaced"] == 40
    assert bulk(client, store, *lines, query="?existing=keep").json["counts"]["kept"] == 40
    refused = bulk(client, store, *lines[:1], {"id": "new", "content": "blue"}, query="?existing=refuse").json
    assert [result["status"] for result in refused["data"]] == ["conflict", "created"]
    assert client.get(f"/v1/vector_stores/{store}").json["file_counts"]["total"] == 41


def test_of_two_lines_with_one_id_the_later_has_the_last_word(client, store):
    response = bulk(client, store, {"id": "a", "content": "red"}, {"id": "a", "content": "blue"})
    assert [result["status"] for result in response.json["data"]] == ["created", "replaced"]
    assert found(client, store, query="red")[0]["content"][0]["text"] == "blue"


def test_lines_can_be_passed_over(client, store):
    lines = [{"id": str(n), "content": "red"} for n in range(5)]
    data = bulk(client, store, *lines, query="?first_line=4").json["data"]
    assert [(result["line"], result["id"]) for result in data] == [(4, "3"), (5, "4")]


def test_what_there_is_no_time_for_is_said_and_can_be_resumed(make_app, tmp_path, monkeypatch):
    settings = replace(settings_for(tmp_path / "data"), server=ServerSettings(deadline=100.0))
    app = make_app(settings)
    client = app.test_client()
    clock = [0.0]
    state = app.extensions["chiasm"]
    slow = replace(state.context, clock=lambda: clock.__setitem__(0, clock[0] + 1.0) or clock[0])
    app.extensions["chiasm"] = replace(state, context=slow)
    store = client.post("/v1/vector_stores", json={"name": "slow"}).json["id"]
    lines = [{"id": str(n), "content": "red"} for n in range(2000)]
    done, first, calls = 0, 1, 0
    while True:
        response = bulk(client, store, *lines, query=f"?first_line={first}")
        assert response.status_code == 200, response.text
        done += response.json["counts"]["created"]
        calls += 1
        if not response.json["has_more"]:
            break
        assert response.json["next_line"] > first
        first = response.json["next_line"]
    assert done == 2000
    assert calls > 1


def test_a_busy_engine_is_waited_for(client, store, model):
    class Busy:
        left = 2

    embed = type(model).embed_prepared

    def sometimes(self, items, *, deadline=None):
        if Busy.left:
            Busy.left -= 1
            raise Overloaded("full", "满", retry_after=0.01)
        return embed(self, items, deadline=deadline)

    type(model).embed_prepared = sometimes
    try:
        response = bulk(client, store, {"id": "a", "content": "red"})
    finally:
        type(model).embed_prepared = embed
    assert [result["status"] for result in response.json["data"]] == ["created"]


def test_one_item_may_be_posted_as_json(client, store):
    response = client.post(f"/v1/vector_stores/{store}/items", json={"content": "red"})
    assert response.json["id"].startswith("item-")
    again = client.post(
        f"/v1/vector_stores/{store}/items?existing=refuse", json={"id": response.json["id"], "content": "red"}
    )
    assert again.status_code == 409


def test_items_are_listed_page_by_page(client, store):
    bulk(client, store, *({"id": str(n), "content": "red"} for n in range(5)))
    client.post(
        f"/v1/vector_stores/{store}/files",
        data={"file": (io.BytesIO(b"a file"), "x.txt")},
    )
    page = client.get(f"/v1/vector_stores/{store}/items?limit=3&order=asc").json
    assert [item["id"] for item in page["data"]] == ["0", "1", "2"]
    assert page["has_more"] is True
    rest = client.get(f"/v1/vector_stores/{store}/items?limit=3&order=asc&after={page['last_id']}").json
    assert [item["id"] for item in rest["data"]] == ["3", "4"]


@pytest.mark.parametrize(
    ("item_id", "body", "param"),
    [
        ("a", {}, "content"),
        ("a", {"content": "red", "vector": [1.0]}, "content"),
        ("a", {"content": []}, "content"),
        ("a", {"content": [{"image": ""}]}, "content[0].image"),
        ("a", {"content": "red", "modality": "image"}, "modality"),
        ("a", {"vector": []}, "vector"),
        ("a", {"vector": [0.0, 0.0]}, "vector"),
        ("a", {"vector": ["1"]}, "vector[0]"),
        ("a", {"id": "b", "content": "red"}, "id"),
        ("file-1", {"content": "red"}, "id"),
        ("x" * 257, {"content": "red"}, "id"),
        ("a", {"content": "red", "attributes": {"k": []}}, "attributes.k"),
    ],
)
def test_what_is_wrong_is_named(client, store, item_id, body, param):
    response = put(client, store, item_id, **body)
    assert response.status_code == 400, response.text
    assert response.json["error"]["param"] == param


def test_a_store_that_is_not_there(client):
    assert put(client, "vs_none", "a", content="red").status_code == 404
    assert bulk(client, "vs_none", {"content": "red"}).status_code == 404
    assert client.get("/v1/vector_stores/vs_none/items").status_code == 404


def put_form(client, store: str, item_id: str, **fields):
    address = f"/v1/vector_stores/{store}/items/{item_id}"
    return client.put(address, data=fields, content_type="multipart/form-data")


def upload(colour: str, name: str = "x.png") -> tuple[io.BytesIO, str]:
    return io.BytesIO(picture(colour)), name


def test_an_item_may_come_as_a_form(client, store):
    answer = put_form(
        client, store, "form", image=upload("red", "a/红.png"), text="red", attributes='{"price": 2}'
    )
    assert answer.status_code == 200, answer.text
    assert (answer.json["name"], answer.json["mime"], answer.json["modality"]) == (
        "红.png",
        "image/png",
        "mixed",
    )
    assert answer.json["attributes"] == {"price": 2}
    [hit] = found(client, store, query="red")
    assert hit["content"][0]["text"] == "red"
    assert content(client, hit) == picture("red")


def test_an_item_of_a_form_may_get_its_id_from_the_server(client, store):
    answer = client.post(
        f"/v1/vector_stores/{store}/items",
        data={"file": upload("blue"), "name": "mine"},
        content_type="multipart/form-data",
    )
    assert answer.status_code == 200, answer.text
    assert answer.json["id"].startswith("item-")
    assert answer.json["name"] == "mine"


def test_a_vector_may_come_in_a_form(client, store):
    answer = put_form(client, store, "v", vector=json.dumps([1.0] * DIMENSIONS))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "content"),
        ({"image": b"", "vector": "[1, 2]"}, "content"),
        ({"text": "red", "content": "blue"}, "content"),
        ({"text": "red", "attributes": "{"}, "attributes"),
        ({"text": "red", "other": "1"}, "other"),
        ({"video": b""}, "video"),
        ({"image": b"GARBAGE"}, "image"),
    ],
)
def test_what_is_wrong_in_a_form_is_named(client, store, fields, param):
    made = {
        name: (io.BytesIO(given or picture("red")), "x") if isinstance(given, bytes) else given
        for name, given in fields.items()
    }
    answer = put_form(client, store, "x", **made)
    assert answer.status_code in {400, 415}, answer.text
    assert answer.json["error"]["param"] == param
