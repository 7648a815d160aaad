"""/v1/vector_stores, their files and search; /v1/jobs without a process for them."""

import base64
import io

import pytest
from api_fakes import picture, video

from document_files import pdf


@pytest.fixture
def store(client) -> str:
    response = client.post("/v1/vector_stores", json={"name": "media", "metadata": {"owner": "me"}})
    assert response.status_code == 200, response.text
    return response.json["id"]


@pytest.fixture
def files(client, store) -> dict[str, str]:
    """Three pictures, a text and a video."""
    ids = {}
    for colour in ("red", "green", "blue"):
        ids[colour] = put(client, store, picture(colour), f"{colour}.png")
    ids["text"] = put(client, store, b"blue blue", "note.txt")
    ids["video"] = put(client, store, video(("red", "green")), "clip.mp4")
    return ids


def put(client, store: str, data: bytes, name: str) -> str:
    response = client.post(f"/v1/vector_stores/{store}/files", data={"file": (io.BytesIO(data), name)})
    assert response.status_code == 200, response.text
    assert response.json["status"] == "completed", response.json
    return response.json["id"]


def search(client, store: str, **body) -> list[dict]:
    body = {"ranking_options": {"score_threshold": 0}, **body}
    response = client.post(f"/v1/vector_stores/{store}/search", json=body)
    assert response.status_code == 200, response.text
    return response.json["data"]


def refused(client, store: str, status: int = 400, **body) -> str:
    response = client.post(f"/v1/vector_stores/{store}/search", json=body)
    assert response.status_code == status, response.text
    return response.json["error"]["param"]


def test_a_store_has_openai_s_fields(client, store):
    found = client.get(f"/v1/vector_stores/{store}").json
    assert found["object"] == "vector_store"
    assert found["metadata"] == {"owner": "me"}
    assert found["file_counts"] == {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}
    assert found["status"] == "completed"
    changed = client.post(f"/v1/vector_stores/{store}", json={"name": "new", "metadata": {"n": 1}}).json
    assert (changed["name"], changed["metadata"]) == ("new", {"n": 1})
    assert client.delete(f"/v1/vector_stores/{store}").json["object"] == "vector_store.deleted"
    assert client.get(f"/v1/vector_stores/{store}").status_code == 404


def test_a_store_may_be_made_of_files_and_of_nothing(client):
    file_id = client.post("/v1/files", data={"file": (io.BytesIO(picture("red")), "a.png")}).json["id"]
    assert (
        client.post("/v1/vector_stores", json={"file_ids": [file_id]}).json["file_counts"]["completed"] == 1
    )
    assert client.post("/v1/vector_stores").json["object"] == "vector_store"
    response = client.post("/v1/vector_stores", json={"file_ids": [file_id, "file-none"], "name": "unmade"})
    assert response.json["error"]["param"] == "file_ids[1]"
    assert "unmade" not in [one["name"] for one in client.get("/v1/vector_stores?limit=100").json["data"]]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": 3}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"metadata": {"a": [1]}}, "metadata.a"),
        ({"expires_after": {"anchor": "last_active_at", "days": 1}}, "expires_after"),
        ({"chunking_strategy": {"type": "static"}}, "chunking_strategy.type"),
        ({"file_ids": "file-1"}, "file_ids"),
    ],
)
def test_stores_name_what_is_wrong(client, body, param):
    response = client.post("/v1/vector_stores", json=body)
    assert response.status_code == 400, response.text
    assert response.json["error"]["param"] == param


def test_files_of_a_store(client, store, files):
    listed = client.get(f"/v1/vector_stores/{store}/files?filter=completed").json["data"]
    assert {entry["id"] for entry in listed} == set(files.values())
    assert client.get(f"/v1/vector_stores/{store}/files?filter=failed").json["data"] == []
    one = f"/v1/vector_stores/{store}/files/{files['red']}"
    assert client.post(one, json={"attributes": {"year": 2024}}).json["attributes"] == {"year": 2024}
    assert client.get(one).json["modality"] == "image"
    assert client.delete(one).json["deleted"]
    assert client.get(one).status_code == 404
    assert client.get(f"/v1/files/{files['red']}").status_code == 200


def test_a_file_that_cannot_be_indexed_says_why(client, store):
    broken = picture("red", 64)[:60]
    response = client.post(f"/v1/vector_stores/{store}/files", data={"file": (io.BytesIO(broken), "a.png")})
    assert response.json["status"] == "failed"
    assert response.json["last_error"]["code"] == "unsupported_media"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "file_id"),
        ({"file_id": ""}, 400, "file_id"),
        ({"file_id": "file-none"}, 404, "file_id"),
        ({"file_id": "file-none", "attributes": {"a": None}}, 400, "attributes.a"),
        ({"file_id": "file-none", "attributes": []}, 400, "attributes"),
    ],
)
def test_attaching_names_what_is_wrong(client, store, body, status, param):
    response = client.post(f"/v1/vector_stores/{store}/files", json=body)
    assert (response.status_code, response.json["error"]["param"]) == (status, param)


def test_a_text_finds_pictures_and_the_moment_in_a_video(client, store, files):
    hits = search(client, store, query="green", modalities=["image"])
    assert hits[0]["file_id"] == files["green"]
    assert hits[0]["media"]["modality"] == "image"
    assert hits[0]["media"]["cosine"] > hits[1]["media"]["cosine"]
    assert hits[0]["content"] == [{"type": "text", "text": ""}]
    [clip] = search(client, store, query="green", modalities=["video"])
    assert clip["file_id"] == files["video"]
    assert clip["media"]["end"] > 0
    assert client.get(clip["media"]["thumbnail_url"]).status_code == 200


def test_a_hit_in_a_document_names_its_page(client, store):
    document = pdf(["red", "!0 1 0 rg 0 0 595 842 re f"])
    client.post(f"/v1/vector_stores/{store}/files", data={"file": (io.BytesIO(document), "x.pdf")})
    by_words, by_looks = (
        next(h for h in search(client, store, query=q, modalities=m) if h["filename"] == "x.pdf")
        for q, m in (("red", ["text"]), ("green", ["image"]))
    )
    assert (by_words["media"]["page"], by_words["content"][0]["text"]) == (1, "red")
    assert by_looks["media"]["page"] == 2
    for hit in (by_words, by_looks):
        assert f"page={hit['media']['page']}" in hit["media"]["thumbnail_url"]
        assert client.get(hit["media"]["thumbnail_url"]).mimetype == "image/webp"


def test_a_picture_finds_texts(client, store, files):
    query = {"image": base64.b64encode(picture("blue", 40)).decode()}
    [hit] = search(client, store, query=query, modalities=["text"])
    assert hit["file_id"] == files["text"]
    assert hit["content"][0]["text"] == "blue blue"
    assert search(client, store, query=query, max_num_results=2)[0]["file_id"] in {
        files["blue"],
        files["text"],
    }


def test_several_texts_are_several_queries_and_a_mixed_item_is_one(client, store, files):
    several = search(client, store, query=["red", "blue"], modalities=["image"], max_num_results=2)
    assert {hit["file_id"] for hit in several} == {files["red"], files["blue"]}
    mixed = {"content": ["red", {"type": "file", "file": {"file_id": files["red"]}}]}
    assert search(client, store, query=mixed, modalities=["image"])[0]["file_id"] == files["red"]


def test_more_like_this_leaves_this_out(client, store, files):
    hits = search(client, store, like=files["text"], max_num_results=3)
    assert files["text"] not in [hit["file_id"] for hit in hits]
    assert hits[0]["file_id"] == files["blue"]


def test_a_form_with_a_file_is_a_query(client, store, files):
    response = client.post(
        f"/v1/vector_stores/{store}/search",
        data={
            "image": (io.BytesIO(picture("red", 31)), "q.png"),
            "modalities": "image",
            "max_num_results": "1",
            "ranking_options": '{"score_threshold": 0}',
        },
    )
    assert [hit["file_id"] for hit in response.json["data"]] == [files["red"]], response.text


def test_filters_and_threshold(client, store, files):
    client.post(f"/v1/vector_stores/{store}/files/{files['blue']}", json={"attributes": {"year": 2020}})
    old = {"type": "and", "filters": [{"type": "lt", "key": "year", "value": 2021}]}
    assert [hit["file_id"] for hit in search(client, store, query="red", filters=old)] == [files["blue"]]
    assert search(client, store, query="red", ranking_options={"score_threshold": 1.0}) == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "query"),
        ({"query": "a", "like": "b"}, "like"),
        ({"query": ""}, "query"),
        ({"query": []}, "query"),
        ({"query": ["a", {"text": ""}]}, "query[1].text"),
        ({"query": "a", "weights": [1.0, 2.0]}, "weights"),
        ({"query": "a", "negative": {"text": ""}}, "negative.text"),
        ({"query": "a", "diversity": 2}, "diversity"),
        ({"query": "a", "page": "7"}, "page"),
        ({"like": "b", "negative": "a"}, "negative"),
        ({"query": 7}, "query"),
        ({"query": "a", "max_num_results": 0}, "max_num_results"),
        ({"query": "a", "max_num_results": 51}, "max_num_results"),
        ({"query": "a", "modalities": ["smell"]}, "modalities[0]"),
        ({"query": "a", "modalities": []}, "modalities"),
        ({"query": "a", "ranking_options": {"score_threshold": 2}}, "ranking_options.score_threshold"),
        ({"query": "a", "ranking_options": {"hybrid": 1}}, "ranking_options.hybrid"),
        ({"query": "a", "filters": [1]}, "filters"),
    ],
)
def test_searches_name_what_is_wrong(client, store, body, param):
    assert refused(client, store, **body) == param


def test_several_queries_of_any_kind_with_weights_and_what_is_not_wanted(client, store, files):
    coded = {"image": base64.b64encode(picture("red", 31)).decode()}
    found = search(client, store, query=[coded, "blue"], weights=[1, 20])
    assert found[0]["file_id"] == files["blue"]
    found = search(client, store, query=[coded, "blue"], weights=[20, 1])
    assert found[0]["file_id"] == files["red"]
    without = search(client, store, query=["red", "blue"], negative=[coded])
    order = [hit["file_id"] for hit in without]
    assert order.index(files["blue"]) < order.index(files["red"])


def test_pages_of_a_search_follow_each_other(client, store, files):
    asked = {"query": "red", "ranking_options": {"score_threshold": 0}, "max_num_results": 2}
    whole = [hit["file_id"] for hit in search(client, store, query="red", max_num_results=50)]
    pages, token = [], None
    while True:
        body = {**asked, **({"page": token} if token else {})}
        answer = client.post(f"/v1/vector_stores/{store}/search", json=body).json
        pages += [hit["file_id"] for hit in answer["data"]]
        token = answer["next_page"]
        assert answer["has_more"] is (token is not None)
        if token is None:
            break
    assert pages == whole
    assert len(whole) > 2


def test_a_page_of_another_search_or_store_is_refused(client, store, files):
    asked = {"query": "red", "ranking_options": {"score_threshold": 0}, "max_num_results": 1}
    token = client.post(f"/v1/vector_stores/{store}/search", json=asked).json["next_page"]
    other = client.post("/v1/vector_stores", json={"name": "another"}).json["id"]
    assert refused(client, other, **asked, page=token) == "page"
    assert refused(client, store, **(asked | {"query": "blue"}), page=token) == "page"
    assert refused(client, store, **asked, page="1." + "0" * 32) == "page"


def test_wrong_filters_are_named(client, store, files):
    assert refused(client, store, query="a", filters={"type": "near"}) == "filters.type"
    assert refused(client, store, query="a", filters={"type": "eq", "key": 1, "value": 1}) == "filters.key"


def test_searching_what_is_not_there_is_404(client, store):
    assert client.post("/v1/vector_stores/none/search", json={"query": "a"}).status_code == 404
    assert refused(client, store, 404, like="file-none") == "file_id"


def test_an_empty_store_finds_nothing(client, store):
    assert search(client, store, query="red") == []


def test_without_a_process_for_them_there_are_no_jobs(client, store):
    assert client.get("/v1/jobs").json["error"]["code"] == "no_jobs"
    assert client.post(f"/v1/vector_stores/{store}/folders", json={"path": "/tmp"}).status_code == 404


@pytest.mark.parametrize(
    ("headers", "address"),
    [({}, "192.168.1.7"), ({"X-Forwarded-For": "8.8.8.8"}, "127.0.0.1"), ({"Via": "1.1 proxy"}, "127.0.0.1")],
)
def test_folders_are_for_callers_on_this_machine(client, store, headers, address):
    response = client.post(
        f"/v1/vector_stores/{store}/folders",
        json={"path": "/tmp"},
        headers=headers,
        environ_base={"REMOTE_ADDR": address},
    )
    assert response.status_code == 403
    assert response.json["error"]["code"] == "local_only"


def test_an_upload_into_a_store_brings_its_attributes(client):
    store = client.post("/v1/vector_stores", json={"name": "forms"}).json["id"]

    def send(attributes: str):
        return client.post(
            f"/v1/vector_stores/{store}/files",
            data={"file": (io.BytesIO(picture("red")), "x.png"), "attributes": attributes},
            content_type="multipart/form-data",
        )

    answer = send('{"year": 2024}')
    assert (answer.status_code, answer.json["attributes"]) == (200, {"year": 2024})
    for wrong in ("{", "[1]", '{"a": [1]}'):
        assert send(wrong).status_code == 400
    assert len(client.get(f"/v1/vector_stores/{store}/files").json["data"]) == 1


def test_a_filter_that_is_wrong_is_refused_by_an_empty_store_as_well(client):
    store = client.post("/v1/vector_stores", json={"name": "nothing"}).json["id"]
    answer = client.post(
        f"/v1/vector_stores/{store}/search", json={"query": "red", "filters": {"type": "never"}}
    )
    assert (answer.status_code, answer.json["error"]["param"]) == (400, "filters.type")
