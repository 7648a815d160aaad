"""Several models behind one application, all in this process."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from api_fakes import DIMENSIONS, ColourModel, context_of, describe, picture, settings_for
from flask.testing import FlaskClient

from chiasm.api import create_app
from chiasm.errors import CheckpointError
from chiasm.library import open_library
from chiasm.preprocess import Preprocessor
from chiasm.preprocess.late import ServedModel


class Shifted(ColourModel):
    """The same colours, elsewhere."""

    def _vector(self, item: object) -> np.ndarray:
        return np.roll(super()._vector(item), 5)  # type: ignore[arg-type]


@pytest.fixture
def other() -> Shifted:
    return Shifted(describe(name="shifted", revision="s1"))


@pytest.fixture
def client(tmp_path: Path, other: Shifted) -> Iterator[FlaskClient]:
    model = ColourModel()
    context, first = context_of(settings_for(tmp_path / "data"), model)
    first.close()
    prepares = Preprocessor(other.description)
    others = {"shifted": ServedModel(embedder=other, preprocessor=prepares)}
    with open_library(context.settings, model, preprocessor=context.preprocessor, others=others) as library:
        yield create_app(replace(context, library=library, others=others)).test_client()


def embedded(client: FlaskClient, model: str | None) -> np.ndarray:
    answer = client.post("/v1/embeddings", json={"input": "red", "model": model})
    assert answer.status_code == 200
    return np.array(answer.json["data"][0]["embedding"])


def test_every_route_asks_the_model_that_is_named(client: FlaskClient, other: Shifted) -> None:
    assert [m["id"] for m in client.get("/v1/models").json["data"]] == ["colours", "shifted"]
    assert client.get("/v1/models/shifted").json["revision"] == "s1"
    np.testing.assert_allclose(embedded(client, "shifted"), np.roll(embedded(client, None), 5), atol=1e-6)
    np.testing.assert_allclose(embedded(client, "colours"), embedded(client, "default"), atol=1e-6)
    for route, body in (
        ("classify", {"input": "red", "labels": ["red", "green"]}),
        ("similarity", {"queries": ["red"], "documents": ["red"]}),
        ("rerank", {"query": "red", "documents": ["red", "green"]}),
    ):
        other.seen.clear()
        answer = client.post(f"/v1/{route}", json={**body, "model": "shifted"})
        assert answer.status_code == 200, answer.json
        assert other.seen
        assert answer.json["model"] == "shifted"
        missing = client.post(f"/v1/{route}", json={**body, "model": "z"})
        assert (missing.status_code, missing.json["error"]["code"]) == (404, "model_not_found")


def test_a_store_is_searched_with_its_own_model(client: FlaskClient, other: Shifted) -> None:
    assert (
        client.post("/v1/vector_stores", json={"name": "theirs", "model": "shifted"}).json["model"]
        == "shifted"
    )
    assert client.post("/v1/vector_stores", json={"name": "ours", "model": "colours"}).json["model"] is None
    for store in ("theirs", "ours"):
        for colour in ("red", "green", "blue"):
            put = client.put(f"/v1/vector_stores/{store}/items/{colour}", json={"content": colour})
            assert put.status_code == 200, put.json
        other.seen.clear()
        hits = client.post(f"/v1/vector_stores/{store}/search", json={"query": "green"}).json["data"]
        assert hits[0]["media"]["item_id"] == "green"
        assert bool(other.seen) == (store == "theirs")
    wrong = client.post("/v1/vector_stores/theirs/search", json={"query": "green", "model": "colours"})
    assert (wrong.status_code, wrong.json["error"]["code"]) == (409, "model_revision_mismatch")
    assert client.get("/v1/vector_stores/theirs").json["dimensions"] == DIMENSIONS


def test_files_are_indexed_with_the_stores_model(client: FlaskClient, other: Shifted) -> None:
    client.post("/v1/vector_stores", json={"name": "theirs", "model": "shifted"})
    import io

    sent = client.post(
        "/v1/files", data={"file": (io.BytesIO(picture("red")), "red.png"), "purpose": "user_data"}
    )
    client.post("/v1/vector_stores/theirs/files", json={"file_id": sent.json["id"]})
    assert len(other.seen) == 1
    assert client.get("/v1/vector_stores/theirs").json["model_revision"] == "s1"


def test_a_search_that_a_change_of_models_overtakes_is_made_again(
    client: FlaskClient, other: Shifted, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/v1/vector_stores", json={"name": "mine"})
    client.put("/v1/vector_stores/mine/items/red", json={"content": "red"})
    library = client.application.extensions["chiasm"].context.library
    real = library.search

    def overtaken(*given: object, **options: object) -> object:
        monkeypatch.setattr(library, "search", real)
        library.reembed("mine", "shifted")
        return real(*given, **options)

    monkeypatch.setattr(library, "search", overtaken)
    answer = client.post("/v1/vector_stores/mine/search", json={"query": "red"})
    assert answer.status_code == 200
    assert answer.json["data"][0]["media"]["item_id"] == "red"


def test_a_model_that_cannot_be_loaded_says_why(client: FlaskClient, other: Shifted) -> None:
    other.failure = CheckpointError("expected weights", "缺少权重")
    answer = client.post("/v1/embeddings", json={"input": "red", "model": "shifted"})
    assert answer.status_code >= 400
    assert "expected weights" in answer.json["error"]["message"]
    assert client.post("/v1/embeddings", json={"input": "red"}).status_code == 200
