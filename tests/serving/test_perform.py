"""Tasks besides vectors, through a real engine: the same answers, bounds and errors as vectors have."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_engine_model import FakeModel, item

import chiasm
from chiasm.errors import CallerLeft, ChiasmError, DeadlineExceeded, InvalidInput, Overloaded
from chiasm.modality import Image, Item, Text
from chiasm.preprocess import PreparedItem
from chiasm.preprocess.explained import ask, understand
from chiasm.preprocess.explanation import Explanation
from chiasm.preprocess.prepared import Performance
from chiasm.serving.client import EngineClient
from chiasm.serving.departure import Departure
from chiasm.serving.engine import EngineServer
from chiasm.settings import EngineSettings, Settings


class Performing(FakeModel):
    """Doubles first tokens; misbehaves when told to."""

    def perform(
        self,
        task: str,
        items: Sequence[PreparedItem],
        options: Mapping[str, Any],
        *,
        deadline: float | None = None,
    ) -> Performance:
        self.entered.set()
        assert self.gate.wait(60)
        if task == "crash":
            raise ZeroDivisionError("secret detail")
        if task == "refuse":
            raise InvalidInput("expected another", "应为其他", param="target")
        tokens = [int(one.parts[0].arrays["token_ids"][0]) for one in items]
        return Performance(about={"task": task, **options}, arrays=[2 * np.array(tokens)])


@pytest.fixture
def model() -> Performing:
    return Performing()


def serve(model: Any, folder: Path) -> EngineServer:
    engine = EngineSettings(max_queue_cost=16.0, max_batch_cost=4.0, max_wait=0.0, cache_bytes=0)
    server = EngineServer(model, Settings(engine=engine), f"ipc://{folder}/e")
    server.start()
    return server


@pytest.fixture
def client(model: Performing, tmp_path: Path) -> Iterator[EngineClient]:
    server = serve(model, tmp_path)
    with EngineClient(f"ipc://{tmp_path}/e") as client:
        yield client
    model.gate.set()
    server.stop(1.0)


def test_a_task_crosses_with_its_options_and_back_with_its_arrays(client: EngineClient) -> None:
    found = client.perform("double", [item(3), item(5)], {"layers": [1, 2], "name": "猫"})
    assert found.about == {"task": "double", "layers": [1, 2], "name": "猫"}
    assert found.arrays[0].tolist() == [6, 10]
    assert found.inference_ms >= 0
    assert client.status().counts["calls"] == 1


def test_errors_of_a_task_reach_its_caller_and_nobody_else(client: EngineClient) -> None:
    with pytest.raises(InvalidInput, match="expected another") as caught:
        client.perform("refuse", [item(1)], {})
    assert caught.value.param == "target"
    with pytest.raises(ChiasmError) as hidden:
        client.perform("crash", [item(1)], {})
    assert "secret" not in str(hidden.value)
    assert client.perform("double", [item(1)], {}).arrays[0].tolist() == [2]


def test_a_model_that_gives_vectors_only_says_so(tmp_path: Path) -> None:
    server = serve(FakeModel(), tmp_path)
    with EngineClient(f"ipc://{tmp_path}/e") as client:
        with pytest.raises(InvalidInput) as caught:
            client.perform("explain", [item(1)], {})
        assert caught.value.code == "unsupported_task"
    server.stop(1.0)


def test_deadlines_departures_and_full_queues_hold_for_tasks_too(
    client: EngineClient, model: Performing
) -> None:
    assert client.description.name == "fake"
    model.gate.clear()
    gone = Departure()
    with ThreadPoolExecutor(4) as pool:
        running = pool.submit(client.perform, "double", [item(1)], {})
        assert model.entered.wait(30)
        late = pool.submit(client.perform, "double", [item(2)], {}, deadline=time.time() + 0.2)
        left = pool.submit(client.perform, "double", [item(3, cost=10.0)], {}, departure=gone)
        while client.status().queue_length < 2:
            time.sleep(0.01)
        with pytest.raises(Overloaded):
            client.perform("explain", [item(4, cost=2.0)], {})  # three times as dear as its vectors
        with pytest.raises(DeadlineExceeded):
            late.result(30)
        gone.happen()
        with pytest.raises(CallerLeft):
            left.result(30)
        model.gate.set()
        assert running.result(30).arrays[0].tolist() == [2]
    with pytest.raises(DeadlineExceeded):
        client.perform("double", [item(1)], {}, deadline=time.time() - 1)


def test_the_default_model_explains_through_the_engine_as_in_this_process(tmp_path: Path) -> None:
    model = chiasm.load(device="cpu")
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    question = ask(model.preprocessor, Item((Image(pixels),)), Item((Text("红苹果"),)))
    here = model.perform("explain", question.items, question.options)
    server = serve(model, tmp_path)
    with EngineClient(f"ipc://{tmp_path}/e") as client:
        there = client.perform("explain", question.items, question.options)
    server.stop(1.0)
    assert there.about["score"] == pytest.approx(here.about["score"], abs=1e-6)
    for a, b in zip(here.arrays, there.arrays, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    told = understand(model.preprocessor, question, Explanation.from_message(there.about, there.arrays))
    assert sum(spot.weight for spot in told.input) == pytest.approx(1, abs=1e-4)
    with pytest.raises(InvalidInput, match="expected one of the tasks"):
        model.perform("fly", question.items, {})
