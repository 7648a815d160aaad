"""``/v1/explain`` with the default model: weights of what went in, in terms of what went in."""

import base64
import io
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from api_fakes import picture, settings_for
from flask.testing import FlaskClient
from PIL import Image as Pillow

import chiasm
import chiasm.library
from chiasm.api import ApiContext, create_app
from chiasm.errors import InvalidInput
from chiasm.library import open_library
from chiasm.settings import Limits


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    settings = settings_for(tmp_path_factory.mktemp("explain") / "data", limits=Limits())
    model = chiasm.load(device="cpu")
    with open_library(settings, model, preprocessor=model.preprocessor) as library:
        ready = ApiContext(
            settings=settings, embedder=model, preprocessor=model.preprocessor, library=library
        )
        yield create_app(ready).test_client()


def png(width: int = 90, height: int = 60) -> bytes:
    """A green disc on the left of a grey picture."""
    y, x = np.mgrid[:height, :width]
    inside = (x - 25) ** 2 + (y - 30) ** 2 < 18**2
    paper = np.stack([200 - x // 4, 190 - y // 4, np.full_like(x, 190)], axis=-1)
    pixels = np.where(inside[..., None], (30, 160, 40), paper).astype(np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def sound(seconds: float = 2.0) -> bytes:
    time = np.arange(int(8000 * seconds)) / 8000
    samples = (9000 * np.sin(2 * np.pi * 500 * time)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(samples.tobytes())
    return buffer.getvalue()


def part(kind: str, data: bytes) -> dict:
    return {kind: base64.b64encode(data).decode()}


def test_a_picture_and_a_text_are_explained_both_ways(mini: FlaskClient) -> None:
    body = {"input": part("image", png()), "target": "a green ball 绿色的球"}
    answer = mini.post("/v1/explain", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json
    assert (told["object"], told["model"], told["method"]) == ("explanation", "chiasm-mini", "contribution")
    regions = told["input"]["regions"]
    assert sum(region["weight"] for region in regions) == pytest.approx(1, abs=1e-3)
    assert all(0 <= edge <= 1 for region in regions for edge in region["box"] or [])
    tokens = told["target"]["tokens"]
    words = [token for token in tokens if token["span"]]
    assert all(body["target"][slice(*token["span"])] == token["text"] for token in words)
    assert len(words) > 5
    links = told["links"]
    assert (links["from"], links["to"]) == ("target", "input")
    assert [word["text"] for word in links["words"]][:3] == ["a", "green", "ball"]
    assert all(len(word["weights"]) == len(regions) for word in links["words"])
    assert told["usage"]["by_modality"]["image"]["parts"] == 1
    assert float(answer.headers["X-Inference-Time"]) > 0


def test_the_other_way_round_the_links_still_go_to_the_picture(mini: FlaskClient) -> None:
    told = mini.post("/v1/explain", json={"input": "绿色的球", "target": part("image", png())}).json
    assert told["links"]["to"] == "target"
    assert len(told["links"]["words"][0]["weights"]) == len(told["target"]["regions"])


@pytest.mark.parametrize("method", ["relevance", "rollout", "attention", "gradient"])
def test_each_method_answers_by_its_name(mini: FlaskClient, method: str) -> None:
    body = {"input": part("image", png()), "target": "green", "others": ["red", "a dog"], "method": method}
    told = mini.post("/v1/explain", json=body).json
    assert told["method"] == method
    assert (told["layers"], told["heads"]) != (0, 0)


def test_sound_has_segments_and_a_layer_and_a_head_can_be_chosen(mini: FlaskClient) -> None:
    body = {
        "input": part("audio", sound()), "target": "a whistle", "method": "attention", "layer": 0, "head": 0
    }  # fmt: skip
    told = mini.post("/v1/explain", json=body).json
    segments = told["input"]["segments"]
    assert all(s["span"] is None or 0 <= s["span"][0] < s["span"][1] <= 2.1 for s in segments)
    answer = mini.post("/v1/explain", json={**body, "layer": 99})
    assert (answer.status_code, answer.json["error"]["param"]) == (400, "layer")
    answer = mini.post("/v1/explain", json={**body, "method": "rollout"})
    assert (answer.status_code, answer.json["error"]["param"]) == (400, "layer")


def test_the_overlay_is_a_picture_of_the_picture(mini: FlaskClient) -> None:
    body = {"input": part("image", png(180, 120)), "target": "a green ball"}
    answer = mini.post("/v1/explain", json=body, headers={"Accept": "image/png"})
    assert answer.mimetype == "image/png"
    shown = Pillow.open(io.BytesIO(answer.data))
    assert shown.size == (180, 120)
    heard = mini.post(
        "/v1/explain",
        json={"input": "hum", "target": part("audio", sound())},
        headers={"Accept": "image/png"},
    )
    assert Pillow.open(io.BytesIO(heard.data)).size == (1024, 256)
    texts = mini.post("/v1/explain", json={"input": "a", "target": "b"}, headers={"Accept": "image/png"})
    assert texts.status_code == 400


def test_a_form_works_as_json_does(mini: FlaskClient) -> None:
    form = {"input": (io.BytesIO(png()), "ball.png"), "target": "green ball", "method": "rollout"}
    told = mini.post("/v1/explain", data=form, content_type="multipart/form-data").json
    assert (told["method"], told["input"]["modality"]) == ("rollout", "image")
    two = {"input": ["a", "b"], "target": "c"}
    answer = mini.post("/v1/explain", data=two, content_type="multipart/form-data")
    assert (answer.status_code, answer.json["error"]["param"]) == (400, "input")


def test_a_stretch_of_a_stored_recording_is_explained(mini: FlaskClient) -> None:
    long = mini.post(
        "/v1/files", data={"file": (io.BytesIO(sound(25.0)), "hum.wav")}, content_type="multipart/form-data"
    ).json["id"]
    stored = {"type": "file", "file": {"file_id": long}}
    told = mini.post("/v1/explain", json={"input": stored, "target": "hum", "start": 12.0}).json
    ends = [s["span"][1] for s in told["input"]["segments"] if s["span"]]
    assert 1.0 < max(ends) < 16.0
    answer = mini.post("/v1/explain", json={"input": "text", "target": "hum", "start": 1.0})
    assert (answer.status_code, answer.json["error"]["param"]) == (400, "start")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"method": "magic"}, "method"),
        ({"head": -1}, "head"),
        ({"input": {"content": ["a", "b"]}}, "input"),
        ({"target": None}, "target"),
        ({"others": []}, "others"),
        ({"others": [{"content": ["a", "b"]}]}, "others[0]"),
        ({"input": {"image": "nonsense"}}, "input.image"),
        ({"model": "other"}, "model"),
        ({"odd": 1}, "odd"),
    ],
)
def test_what_is_wrong_is_named(mini: FlaskClient, changes: dict, param: str) -> None:
    answer = mini.post("/v1/explain", json={"input": "a", "target": "b", **changes})
    assert answer.status_code in {400, 404, 415}, answer.text
    assert answer.json["error"]["param"] == param


def test_a_model_that_gives_vectors_only_says_so(client: FlaskClient) -> None:
    answer = client.post("/v1/explain", json={"input": part("image", picture("red")), "target": "red"})
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "unsupported_task")


SAMPLE = Path(chiasm.library.__file__).parent / "sample"


@pytest.mark.parametrize(("query", "middle"), [("sailboat", (0.62, 0.63)), ("lighthouse", (0.2, 0.45))])
def test_a_thing_is_located_in_a_picture(mini: FlaskClient, query: str, middle: tuple[float, float]) -> None:
    data = (SAMPLE / "pictures" / "lighthouse-and-sailboat.jpg").read_bytes()
    told = mini.post("/v1/locate", json={"input": part("image", data), "query": query}).json
    left, top, right, bottom = told["data"][0]["box"]
    assert left < middle[0] < right
    assert top < middle[1] < bottom
    scores = [found["score"] for found in told["data"]]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[-1] <= scores[0] <= 1


def test_thresholds_and_numbers_of_results_hold(mini: FlaskClient) -> None:
    body = {"input": part("image", png()), "query": "a green ball"}
    assert len(mini.post("/v1/locate", json={**body, "threshold": 0, "max_num_results": 2}).json["data"]) == 2
    assert mini.post("/v1/locate", json={**body, "threshold": 1}).json["data"] == []


def test_moments_of_a_sound_are_found_by_a_form(mini: FlaskClient) -> None:
    form = {"input": (io.BytesIO(sound(3.0)), "hum.wav"), "query": "a whistle", "threshold": "0"}
    answer = mini.post("/v1/locate", data=form, content_type="multipart/form-data")
    assert answer.status_code == 200, answer.text
    told = answer.json
    assert all(0 <= start < end <= 3.01 for start, end in (found["span"] for found in told["data"]))


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": "a text"}, "input"),
        ({"input": {"content": [{"image": "a"}, "b"]}}, "input.content[0].image"),
        ({"query": ""}, "query"),
        ({"threshold": 2}, "threshold"),
        ({"max_num_results": 0}, "max_num_results"),
    ],
)
def test_what_is_wrong_with_locating_is_named(mini: FlaskClient, changes: dict, param: str) -> None:
    answer = mini.post("/v1/locate", json={"input": part("image", png()), "query": "b", **changes})
    assert answer.status_code in {400, 415}, answer.text
    assert answer.json["error"]["param"] == param


def test_the_model_in_this_process_locates_too() -> None:
    model = chiasm.load(device="cpu")
    found = model.locate(SAMPLE / "pictures" / "lighthouse-and-sailboat.jpg", "帆船", most=1)
    assert found[0].box is not None
    assert found[0].box[0] > 0.3
    with pytest.raises(InvalidInput, match="to look in"):
        model.locate("text", "a")
