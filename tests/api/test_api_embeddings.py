"""POST /v1/embeddings."""

import base64
import io
import json

import numpy as np
import pytest
from api_fakes import DIMENSIONS, MAX_TOKENS, ColourModel, describe, picture, sound, video

from chiasm.errors import DeadlineExceeded, InvalidInput, Overloaded, RateLimited


def post(client, body, **headers):
    return client.post("/v1/embeddings", json=body, headers=headers)


def vectors(response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.array([entry["embedding"] for entry in response.json["data"]])


def error(response, status: int) -> dict:
    assert response.status_code == status, response.text
    assert set(response.json) == {"error"}
    assert set(response.json["error"]) == {"message", "type", "param", "code"}
    return response.json["error"]


def data_url(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_text_becomes_a_unit_vector(client):
    response = post(client, {"model": "colours", "input": "red"})
    assert response.json["object"] == "list"
    assert response.json["model"] == "colours"
    assert response.json["data"][0]["object"] == "embedding"
    assert response.json["usage"]["prompt_tokens"] == response.json["usage"]["total_tokens"] == 1
    assert np.linalg.norm(vectors(response)[0]) == pytest.approx(1, abs=1e-5)
    assert float(response.headers["X-Inference-Time"]) >= 0
    assert float(response.headers["X-Queue-Time"]) >= 0


def test_the_order_of_the_inputs_is_kept(client):
    together = vectors(post(client, {"input": ["red", "green", "blue"]}))
    alone = [vectors(post(client, {"input": word}))[0] for word in ("red", "green", "blue")]
    assert np.allclose(together, alone)


@pytest.mark.parametrize(
    "spelling",
    [
        "red",
        {"text": "red"},
        {"type": "text", "text": "red"},
        {"content": "red"},
        {"content": ["red"]},
        {"content": [{"type": "text", "text": "red"}]},
    ],
)
def test_every_spelling_of_a_text_is_the_same_text(client, spelling):
    expected = vectors(post(client, {"input": "red"}))
    assert np.allclose(vectors(post(client, {"input": spelling})), expected)
    assert np.allclose(vectors(post(client, {"input": [spelling]})), expected)


def test_every_spelling_of_a_picture_is_the_same_picture(client):
    red = picture("red")
    kept = client.post("/v1/files", data={"file": (io.BytesIO(red), "red.png")}).json["id"]
    spellings = [
        {"image": encoded(red)},
        {"image": data_url(red, "image/png")},
        {"type": "image_url", "image_url": {"url": data_url(red, "image/png")}},
        {"type": "image_url", "image_url": {"url": data_url(red, "image/jpeg"), "detail": "low"}},
        {"type": "file", "file": {"file_id": kept}},
    ]
    found = vectors(post(client, {"input": spellings}))
    assert np.allclose(found, found[0])
    as_form = client.post("/v1/embeddings", data={"image": (io.BytesIO(red), "any-name.txt")})
    assert np.allclose(vectors(as_form), found[0])


def test_sound_and_video(client):
    wav, mp4 = sound(), video()
    spellings = [
        {"audio": encoded(wav)},
        {"type": "input_audio", "input_audio": {"data": encoded(wav), "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": data_url(wav, "audio/wav")}},
        {"video": encoded(mp4)},
        {"type": "video_url", "video_url": {"url": data_url(mp4, "video/mp4")}},
    ]
    response = post(client, {"input": spellings})
    found = vectors(response)
    assert np.allclose(found[:3], found[0])
    assert np.allclose(found[3], found[4])
    used = response.json["usage"]["by_modality"]
    assert used["audio"]["parts"] == 3
    assert used["audio"]["seconds"] == pytest.approx(3, abs=0.2)
    assert used["video"]["parts"] == 2
    assert used["video"]["frames"] > 2


def test_a_mixed_item_is_one_vector(client, model: ColourModel):
    response = post(client, {"input": {"content": ["green", {"image": encoded(picture("red"))}]}})
    assert len(vectors(response)) == 1
    assert [part.modality.value for part in model.seen[0].parts] == ["text", "image"]
    assert set(response.json["usage"]["by_modality"]) == {"text", "image"}


def test_messages_are_fused_into_one_item(client, model: ColourModel):
    messages = [
        {"role": "system", "content": "red"},
        {"role": "user", "content": [{"type": "text", "text": "green"}, {"image": encoded(picture("blue"))}]},
    ]
    assert len(vectors(post(client, {"messages": messages}))) == 1
    assert [part.modality.value for part in model.seen[0].parts] == ["text", "text", "image"]


def test_base64_is_little_endian_float32(client):
    as_floats = vectors(post(client, {"input": ["red", "blue"]}))
    response = post(client, {"input": ["red", "blue"], "encoding_format": "base64"})
    as_bytes = [np.frombuffer(base64.b64decode(e["embedding"]), "<f4") for e in response.json["data"]]
    assert np.allclose(as_floats, as_bytes)


def test_shortened_vectors_are_unit_vectors_and_the_caller_is_told(client):
    whole = vectors(post(client, {"input": "red"}))[0]
    response = post(client, {"input": "red", "dimensions": 5})
    short = vectors(response)[0]
    assert np.allclose(short, whole[:5] / np.linalg.norm(whole[:5]), atol=1e-6)
    assert "not trained for short" in response.json["warnings"][0]
    assert "warnings" not in post(client, {"input": "red", "dimensions": DIMENSIONS}).json


def test_a_model_trained_for_shortened_vectors_has_nothing_to_warn_of(client, model: ColourModel):
    model.description = describe(capabilities=("embed", "matryoshka"))
    assert "warnings" not in post(client, {"input": "red", "dimensions": 5}).json


def test_truncation_is_reported(client):
    response = post(client, {"input": ["red", "red " * (MAX_TOKENS + 6)]})
    assert "truncated" not in response.json["data"][0]
    assert response.json["data"][1]["truncated"] == {"tokens": 6}
    assert "cut" in response.json["warnings"][0]


def test_form_parts_are_items_texts_first_and_fuse_makes_them_one(client, model: ColourModel):
    def form(**more):
        return {
            "image": [(io.BytesIO(picture("red")), "1.png"), (io.BytesIO(picture("blue")), "2.png")],
            "text": "green",
            **more,
        }

    found = vectors(client.post("/v1/embeddings", data=form()))
    assert [int(np.argmax(v[:3])) for v in found] == [1, 0, 2]
    fused = client.post("/v1/embeddings", data=form(fuse="true", encoding_format="float", dimensions="8"))
    assert vectors(fused).shape == (1, 8)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["red", ""]}, "input[1]"),
        ({"input": 7}, "input"),
        ({"input": True}, "input"),
        ({"input": [["red"]]}, "input[0]"),
        ({"input": {}}, "input"),
        ({"input": {"text": "a", "image": "b"}}, "input"),
        ({"input": {"text": 3}}, "input.text"),
        ({"input": {"type": "smell", "smell": "rose"}}, "input.type"),
        ({"input": {"type": ["text"]}}, "input.type"),
        ({"input": {"type": "text"}}, "input.text"),
        ({"input": {"type": "text", "text": "a", "colour": 1}}, "input.colour"),
        (
            {"input": [{"type": "image_url", "image_url": {"url": "ftp://example.org/a.png"}}]},
            "input[0].image_url.url",
        ),
        ({"input": [{"type": "image_url", "image_url": {}}]}, "input[0].image_url.url"),
        ({"input": [{"type": "image_url", "image_url": 3}]}, "input[0].image_url"),
        ({"input": {"image": "not base64!"}}, "input.image"),
        ({"input": {"content": []}}, "input.content"),
        ({"input": {"content": ["red", {"audio": "%%%"}]}}, "input.content[1].audio"),
        ({"input": {"content": "red", "more": 1}}, "input.more"),
        ({"input": "red", "messages": [{"role": "user", "content": "x"}]}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "cook", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"input": "red", "dimensions": 0}, "dimensions"),
        ({"input": "red", "dimensions": DIMENSIONS + 1}, "dimensions"),
        ({"input": "red", "dimensions": "8"}, "dimensions"),
        ({"input": "red", "dimensions": True}, "dimensions"),
        ({"input": "red", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "red", "temperature": 1}, "temperature"),
        ({"input": "red", "model": 7}, "model"),
    ],
)
def test_what_is_wrong_is_named(client, body, param):
    assert error(post(client, body), 400)["param"] == param


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_refused_with_the_option_to_change(client, ids):
    found = error(post(client, {"input": ids}), 400)
    assert "check_embedding_ctx_length=False" in found["message"]
    assert found["code"] == "token_ids_not_supported"


def test_harmless_openai_fields_are_accepted(client):
    assert len(vectors(post(client, {"input": "red", "user": "u-1", "metadata": {"a": "b"}}))) == 1


def test_an_unknown_model_is_404_and_default_is_known(client):
    assert error(post(client, {"input": "red", "model": "gpt-9"}), 404)["code"] == "model_not_found"
    assert post(client, {"input": "red", "model": "default"}).json["model"] == "colours"


def test_media_that_are_not_what_they_are_said_to_be_are_415_at_their_place(client):
    found = error(post(client, {"input": ["red", {"audio": encoded(picture("red"))}]}), 415)
    assert found["param"] == "input[1].audio"


def test_a_private_address_is_not_fetched(client):
    body = {"input": {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}}
    assert error(post(client, body), 403)["param"] == "input.image_url.url"


def test_an_unknown_file_is_404_at_its_place(client):
    body = {"input": ["a", {"type": "file", "file": {"file_id": "file-none"}}]}
    assert error(post(client, body), 404)["param"] == "input[1].file.file_id"


def test_too_much_is_413(client):
    assert error(post(client, {"input": ["a"] * 17}), 413)["param"] == "input"
    assert error(post(client, {"input": "a" * 2001}), 413)["param"] == "input"
    assert error(post(client, {"input": "a" * 200_001}), 413)["code"] == "too_large"


def test_a_modality_the_model_does_not_take_is_named(client, app, model: ColourModel):
    failing = InvalidInput("the item is odd", "条目有误", param="input[1].pixels")
    model.failure = failing
    found = error(post(client, {"input": ["a", {"text": "b"}]}), 400)
    assert found["param"] == "input[1].pixels"


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Overloaded("the queue is full", "队列已满", retry_after=2.5), 503),
        (RateLimited("too many requests", "请求过多"), 429),
        (DeadlineExceeded("too late", "超时"), 504),
        (RuntimeError("secret path /etc/x"), 500),
    ],
)
def test_what_the_engine_says_becomes_a_status(client, model: ColourModel, failure, status):
    model.failure = failure
    response = post(client, {"input": "red"})
    found = error(response, status)
    assert "secret" not in found["message"]
    if status in {429, 503}:
        assert int(response.headers["Retry-After"]) >= 1


def test_errors_speak_chinese_when_asked(client):
    found = error(
        post(client, {"input": "red", "dimensions": 99}, **{"Accept-Language": "zh-CN,zh;q=0.9"}), 400
    )
    assert "维" in found["message"]
    found = error(post(client, {"input": "red", "dimensions": 99}, **{"Accept-Language": "en"}), 400)
    assert "expected at most" in found["message"]


def test_numbers_stay_numbers_when_they_are_large(client):
    response = client.post(
        "/v1/embeddings",
        data=json.dumps({"input": "red", "dimensions": 10**30}),
        content_type="application/json",
    )
    assert error(response, 400)["param"] == "dimensions"


def test_a_long_text_is_refused_by_choice(client):
    text = "red " * 100
    answer = client.post("/v1/embeddings", json={"input": ["red", text], "truncate": False})
    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "input_too_long"
    assert answer.json["error"]["param"] == "input[1]"
    assert "76 tokens more" in answer.json["error"]["message"]
    cut = client.post("/v1/embeddings", json={"input": text})
    assert cut.json["data"][0]["truncated"] == {"tokens": 76}
    assert client.post("/v1/embeddings", json={"input": "red", "truncate": False}).status_code == 200
