"""POST /v1/similarity and /v1/rerank."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from api_fakes import picture

from chiasm.library import Pair


def coded(colour: str) -> dict[str, str]:
    return {"image": base64.b64encode(picture(colour)).decode()}


def similarity(client, **body):
    return client.post("/v1/similarity", json=body)


def rerank(client, **body):
    return client.post("/v1/rerank", json=body)


def calibrated(model, **pairs: Pair) -> None:
    named = {name.replace("_", ">"): vars(pair) for name, pair in pairs.items()}
    model.description = replace(model.description, revision=repr(named), calibration={"pairs": named})


def test_a_row_for_each_query_and_a_column_for_each_document(client):
    response = similarity(client, queries=["red", coded("blue")], documents=[coded("red"), "green", "blue"])
    assert response.status_code == 200, response.text
    cosines = np.array([row["cosines"] for row in response.json["data"]])
    assert cosines.shape == (2, 3)
    assert cosines.argmax(axis=1).tolist() == [0, 2]
    assert [row["index"] for row in response.json["data"]] == [0, 1]
    assert response.json["usage"]["by_modality"]["image"]["parts"] == 2
    assert "X-Inference-Time" in response.headers


def test_cosines_are_those_of_the_vectors(client):
    [row] = similarity(client, queries="red", documents=["a", {"content": ["red", coded("green")]}]).json[
        "data"
    ]
    found = client.post(
        "/v1/embeddings", json={"input": ["red", "a", {"content": ["red", coded("green")]}]}
    ).json["data"]
    query, *documents = [np.array(entry["embedding"]) for entry in found]
    assert row["cosines"] == pytest.approx([float(query @ document) for document in documents], abs=1e-6)


def test_scores_are_calibrated_by_the_pair_of_modalities(client, model):
    calibrated(model, text_text=Pair(cosine=20.0, bias=-10.0), text_image=Pair(cosine=0.0, bias=2.0))
    [row] = similarity(client, queries="red", documents=["red", "green", coded("green")]).json["data"]
    assert row["scores"][0] > 0.9
    assert row["scores"][1] < 0.1
    assert row["scores"][2] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_a_long_text_is_scored_as_a_passage(client, model):
    calibrated(model, text_text=Pair(cosine=0.0, bias=-2.0), text_passage=Pair(cosine=0.0, bias=2.0))
    [row] = similarity(client, queries="red", documents=["a b c d e f g h", "a b c d e f g h i"]).json["data"]
    assert row["scores"][0] < 0.5 < row["scores"][1]


def test_a_form_with_files_on_both_sides(client):
    response = client.post(
        "/v1/similarity",
        data={
            "queries": (io.BytesIO(picture("green")), "q.png"),
            "documents": ["red", "green"],
        },
    )
    assert response.status_code == 200, response.text
    [row] = response.json["data"]
    assert np.argmax(row["cosines"]) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"documents": ["a"]}, "queries"),
        ({"queries": ["a"]}, "documents"),
        ({"queries": [], "documents": ["a"]}, "queries"),
        ({"queries": ["a"], "documents": [{"image": "%%%"}]}, "documents[0].image"),
        ({"queries": ["a"], "documents": ["a"], "top_n": 3}, "top_n"),
        ({"queries": ["a"] * 10, "documents": ["a"] * 10}, "documents"),
    ],
)
def test_what_is_wrong_is_named(client, body, param):
    response = similarity(client, **body)
    assert response.status_code in {400, 413}
    assert response.json["error"]["param"] == param


def test_rerank_puts_the_best_first(client):
    response = rerank(
        client, query="red", documents=["green", coded("red"), "blue", {"text": "red"}], top_n=2
    )
    assert response.status_code == 200, response.text
    results = response.json["results"]
    assert len(results) == 2
    assert {entry["index"] for entry in results} == {1, 3}
    assert results[0]["relevance_score"] >= results[1]["relevance_score"]
    assert response.json["usage"]["total_tokens"] > 0
    assert "document" not in results[0]


def test_rerank_sends_texts_back_and_keeps_uploads(client):
    documents = ["red", coded("red"), {"content": ["green", coded("green")]}]
    results = rerank(client, query="red", documents=documents, return_documents=True).json["results"]
    by_index = {entry["index"]: entry["document"] for entry in results}
    assert by_index == {
        0: {"text": "red"},
        1: {"image": None},
        2: {"content": [{"text": "green"}, {"image": None}]},
    }


def test_rerank_by_a_picture_that_is_sent_as_a_file(client):
    response = client.post(
        "/v1/rerank",
        data={"query": (io.BytesIO(picture("blue")), "q.png"), "documents": ["red", "blue"], "top_n": "1"},
    )
    assert [entry["index"] for entry in response.json["results"]] == [1]


def test_rerank_takes_cohere_fields_and_refuses_others(client):
    assert rerank(client, query="a", documents=["a"], max_tokens_per_doc=4096).status_code == 200
    response = rerank(client, query="a", documents=["a"], rank_fields=["x"])
    assert (response.status_code, response.json["error"]["code"]) == (400, "unknown_field")


def test_rerank_of_one_query_only(client):
    response = client.post(
        "/v1/rerank", data={"query": ["a", "b"], "documents": "a"}, content_type="multipart/form-data"
    )
    assert (response.status_code, response.json["error"]["param"]) == (400, "query")
