"""A ViLT beside a model of vectors: questions are answered, pairs judged, and what cannot be done refused."""

import base64
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from api_fakes import ColourModel, context_of, describe, picture, settings_for
from flask.testing import FlaskClient

sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoints"))

from test_vilt_folders import ANSWERS, make

import chiasm
from chiasm.api import create_app
from chiasm.errors import InvalidInput, SettingsError
from chiasm.preprocess.late import ServedModel
from chiasm.preprocess.prepared import Performance
from chiasm.serving.engine import run_engine
from chiasm.settings import ModelSettings, Settings

RED, BLUE = (base64.b64encode(picture(colour, 60)).decode() for colour in ("red", "blue"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, chiasm.Model]:
    found = {}
    for name, kind in (("asked", "answers"), ("ranks", "ranking")):
        folder = tmp_path_factory.mktemp("vilt") / name
        make(kind, folder)
        found[name] = chiasm.load(folder, device="cpu")
    return found


@pytest.fixture(scope="module")
def client(
    models: dict[str, chiasm.Model], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    context, library = context_of(settings_for(tmp_path_factory.mktemp("pairs") / "data"), ColourModel())
    others = {
        name: ServedModel(embedder=model, preprocessor=model.preprocessor) for name, model in models.items()
    }
    with library:
        yield create_app(replace(context, others=others)).test_client()


def test_a_question_is_answered_by_the_first_model_that_can(
    client: FlaskClient, models: dict[str, chiasm.Model]
) -> None:
    body = {"input": {"image": RED}, "question": "what colour is it", "top_k": 3}
    answer = client.post("/v1/vqa", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json
    assert told["model"] == "asked"
    scores = [one["score"] for one in told["answers"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert {one["answer"] for one in told["answers"]} <= set(ANSWERS)
    here = models["asked"].answer(base64.b64decode(RED), "what colour is it", top_k=3)
    assert [one.text for one in here] == [one["answer"] for one in told["answers"]]
    np.testing.assert_allclose([one.probability for one in here], scores, atol=1e-5)
    other = client.post("/v1/vqa", json={**body, "input": {"image": BLUE}}).json
    assert other["answers"] != told["answers"]


def test_documents_are_ranked_by_reading_each_with_the_query(
    client: FlaskClient, models: dict[str, chiasm.Model]
) -> None:
    texts = ["a red apple", "猫", "the blue car"]
    body = {"model": "ranks", "query": {"image": RED}, "documents": texts, "return_documents": True}
    told = client.post("/v1/rerank", json=body).json
    expected = models["ranks"].match(base64.b64decode(RED), texts)
    scores = {result["index"]: result["relevance_score"] for result in told["results"]}
    np.testing.assert_allclose([scores[n] for n in range(3)], expected, atol=1e-5)
    found = [result["relevance_score"] for result in told["results"]]
    assert found == sorted(found, reverse=True)
    assert told["results"][0]["document"] == {"text": texts[told["results"][0]["index"]]}
    assert "cosine" not in told["results"][0]
    turned = {
        "model": "ranks",
        "query": "a red apple",
        "documents": [{"image": RED}, {"image": BLUE}],
        "top_n": 1,
    }
    assert len(client.post("/v1/rerank", json=turned).json["results"]) == 1


@pytest.mark.parametrize(
    ("route", "body", "code", "param"),
    [
        ("vqa", {"input": "red", "question": "a"}, "invalid_value", "input"),
        ("vqa", {"input": {"image": RED}, "question": {"image": RED}}, "invalid_value", "question"),
        ("vqa", {"input": {"image": RED}, "question": "a", "model": "ranks"}, "unsupported_task", "model"),
        ("vqa", {"input": {"image": RED}, "question": "a", "model": "colours"}, "unsupported_task", "model"),
        ("vqa", {"input": {"image": RED}, "question": "a", "top_k": 0}, "invalid_value", "top_k"),
        (
            "rerank",
            {"query": "a", "documents": [{"image": RED}, "b"], "model": "ranks"},
            None,
            "documents[1]",
        ),
        ("embeddings", {"input": "a", "model": "ranks"}, "unsupported_task", None),
        ("vector_stores", {"name": "x", "model": "ranks"}, "unsupported_task", "model"),
        ("explain", {"input": {"image": RED}, "target": "a", "model": "ranks"}, "unsupported_task", None),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    client: FlaskClient, route: str, body: dict, code: str | None, param: str | None
) -> None:
    answer = client.post(f"/v1/{route}", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json["error"]
    assert code in {None, error["code"]}, error
    assert param in {None, error["param"]}, error


class Detector(ColourModel):
    """Sees a cat and a dog."""

    def perform(self, task: str, items: list, options: dict, *, deadline: float | None = None) -> Performance:
        assert (task, len(items)) == ("detect", 1)
        seen = [["cat", 0.9, [0.1, 0.2, 0.3, 0.4]], ["dog", 0.7, [0.5, 0.5, 0.9, 0.9]]]
        return Performance(
            about={"objects": [one for one in seen if one[1] >= options["threshold"]]}, arrays=[]
        )


def test_a_detector_locates_what_is_named(tmp_path: Path) -> None:
    context, library = context_of(settings_for(tmp_path / "data"), ColourModel())
    detector = Detector(describe(name="sees", capabilities=("detect",)))
    others = {"sees": ServedModel(embedder=detector, preprocessor=context.preprocessor)}
    with library:
        client = create_app(replace(context, others=others)).test_client()
        body = {"input": {"image": RED}, "query": "A cat", "model": "sees"}
        told = client.post("/v1/locate", json=body).json
        assert told["data"] == [{"box": [0.1, 0.2, 0.3, 0.4], "label": "cat", "score": 0.9}]
        assert client.post("/v1/locate", json={**body, "threshold": 0.95}).json["data"] == []
        wrong = client.post("/v1/locate", json={**body, "query": {"image": BLUE}})
        assert (wrong.status_code, wrong.json["error"]["param"]) == (400, "query")


def test_in_this_process_it_says_what_it_can_do(models: dict[str, chiasm.Model]) -> None:
    with pytest.raises(InvalidInput, match="which can: match"):
        models["ranks"].embed(["a"])
    with pytest.raises(InvalidInput, match="head for answers"):
        models["ranks"].answer(base64.b64decode(RED), "a")
    with pytest.raises(InvalidInput, match="judges pairs"):
        chiasm.load(device="cpu").match(base64.b64decode(RED), ["a"])


def test_an_engine_wants_vectors_of_its_first_model(tmp_path: Path) -> None:
    make("ranking", tmp_path / "m")
    settings = Settings(model=ModelSettings(source=str(tmp_path / "m"), device="cpu"))
    with pytest.raises(SettingsError, match="first model that gives vectors"):
        run_engine(settings, f"ipc://{tmp_path}/e")
