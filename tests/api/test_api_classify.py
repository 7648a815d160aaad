"""POST /v1/classify."""

import base64
import io

import pytest
from api_fakes import picture

from chiasm.library import Pair


def post(client, **body):
    return client.post("/v1/classify", json=body)


def coded(colour: str) -> dict[str, str]:
    return {"image": base64.b64encode(picture(colour)).decode()}


def test_a_picture_gets_the_label_that_fits(client):
    response = post(client, input=[coded("red"), coded("blue")], labels=["green", "red", "blue"])
    assert response.status_code == 200, response.text
    assert [entry["label"] for entry in response.json["data"]] == ["red", "blue"]
    scores = response.json["data"][0]["scores"]
    assert scores[0]["label_index"] == 1
    assert sum(entry["score"] for entry in scores) == pytest.approx(1)
    assert response.json["usage"]["by_modality"]["image"]["parts"] == 2
    assert "X-Inference-Time" in response.headers


def test_labels_may_be_pictures(client):
    [found] = post(client, input="red", labels=[coded("blue"), coded("red")]).json["data"]
    assert (found["label"], found["label_index"]) == (None, 1)


def test_templates_surround_the_label_and_are_averaged(client, model):
    post(client, input="red", labels=["red", "blue"], template="a {} b")
    assert len(model.seen[1].parts[0].arrays["token_ids"]) == 3
    response = post(client, input=coded("blue"), labels=["红", "蓝"], template=["{}", "a {}", "b {}"])
    assert response.json["data"][0]["label"] == "蓝"


def test_multi_label_scores_stand_each_for_themselves(client, model):
    model.description = type(model.description)(
        **{f: getattr(model.description, f) for f in model.description.__dataclass_fields__}
        | {
            "revision": "calibrated",
            "calibration": {"pairs": {"text>text": vars(Pair(cosine=20.0, bias=-10.0))}},
        }
    )
    [found] = post(client, input="red blue", labels=["red", "green", "blue"], multi_label=True).json["data"]
    scores = {entry["label"]: entry["score"] for entry in found["scores"]}
    assert scores["red"] > 0.9
    assert scores["blue"] > 0.9
    assert scores["green"] < 0.1


def test_a_form_with_a_real_file(client):
    response = client.post(
        "/v1/classify", data={"image": (io.BytesIO(picture("green")), "x.png"), "labels": ["red", "green"]}
    )
    assert response.json["data"][0]["label"] == "green"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"labels": ["a", "b"]}, "input"),
        ({"input": "red"}, "labels"),
        ({"input": "red", "labels": []}, "labels"),
        ({"input": "red", "labels": ["only"]}, "labels"),
        ({"input": "red", "labels": "red"}, "labels"),
        ({"input": "red", "labels": ["red", ""]}, "labels[1]"),
        ({"input": "red", "labels": ["red", 5]}, "labels[1]"),
        ({"input": "red", "labels": ["red", {"image": "?"}]}, "labels[1].image"),
        ({"input": "red", "labels": ["a", "b"], "template": "no place"}, "template"),
        ({"input": "red", "labels": ["a", "b"], "template": ["{}", 1]}, "template[1]"),
        ({"input": "red", "labels": ["a", "b"], "template": []}, "template"),
        ({"input": "red", "labels": ["a", "b"], "multi_label": 1}, "multi_label"),
    ],
)
def test_what_is_wrong_is_named(client, body, param):
    response = client.post("/v1/classify", json=body)
    assert response.status_code == 400, response.text
    assert response.json["error"]["param"] == param


def test_inputs_and_labels_together_are_bounded(client):
    response = post(client, input=["a"] * 8, labels=["b"] * 9)
    assert response.status_code == 413
