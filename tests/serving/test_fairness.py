"""Callers of a real engine: each gets a fair share, and nothing is computed for those who have left."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from fake_engine_model import FakeModel, item, vector

import chiasm
from chiasm.errors import CallerLeft, Overloaded, RateLimited
from chiasm.inference import Model
from chiasm.preprocess import ModelDescription, PreparedItem
from chiasm.serving.client import EngineClient
from chiasm.serving.departure import Departure
from chiasm.serving.engine import EngineServer
from chiasm.settings import EngineSettings, Settings

QUEUE, BATCH = 64.0, 4.0


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def serve(model: object, folder: Path, *, share: float = 0.5) -> EngineServer:
    engine = EngineSettings(
        max_queue_cost=QUEUE, max_batch_cost=BATCH, max_wait=0.0, cache_bytes=0, key_share=share
    )
    server = EngineServer(model, Settings(engine=engine), f"ipc://{folder}/e")  # type: ignore[arg-type]
    server.start()
    return server


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def client(model: FakeModel, tmp_path: Path) -> Iterator[EngineClient]:
    server = serve(model, tmp_path)
    with EngineClient(f"ipc://{tmp_path}/e") as client:
        yield client
    model.gate.set()
    server.stop(1.0)


class Counting:
    """A model, and how many batches it has begun."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.batches = 0

    @property
    def description(self) -> ModelDescription:
        return self._model.description

    def embed_prepared(self, items: list[PreparedItem], *, deadline: float | None = None) -> np.ndarray:
        self.batches += 1
        return self._model.embed_prepared(items, deadline=deadline)


def test_a_light_user_of_the_tiny_model_waits_for_a_few_batches_while_another_floods(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    model = chiasm.load(tiny_checkpoint, device="cpu")
    counting = Counting(model)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(8)]
    prepared = [model.preprocessor.prepare(chiasm.Item((chiasm.Image(p),))) for p in pictures]
    server = serve(counting, tmp_path, share=0.9)
    stop = threading.Event()

    def flood(client: EngineClient) -> None:
        while not stop.is_set():
            try:
                client.embed_timed(prepared, caller="flooder")
            except RateLimited:
                time.sleep(0.001)

    with EngineClient(f"ipc://{tmp_path}/e") as client, ThreadPoolExecutor(24) as pool:
        floods = [pool.submit(flood, client) for _ in range(24)]
        per_batch = BATCH / prepared[0].cost
        eventually(lambda: client.status().queue_length > 6 * per_batch)
        waits, queued = [], []
        for _ in range(15):
            before = counting.batches
            queued.append(client.status().queue_length / per_batch)
            client.embed_timed(prepared[:1], caller="light")
            waits.append(counting.batches - before)
        stop.set()
        for flooding in floods:
            flooding.result()
    server.stop(5.0)
    assert median(queued) > 6, "the flooder's queue was full all the time"
    assert median(waits) <= 3, (waits, queued)


def test_a_key_that_fills_its_share_of_the_queue_is_refused_before_others(
    client: EngineClient, model: FakeModel
) -> None:
    model.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        running = pool.submit(client.embed_timed, [item(1)], caller="other")
        eventually(model.entered.is_set)
        waiting = [pool.submit(client.embed_timed, [item(2, cost=QUEUE / 2)], caller="greedy")]
        eventually(lambda: client.status().queue_length == 1)
        with pytest.raises(RateLimited) as caught:
            client.embed_timed([item(3)], caller="greedy")
        assert caught.value.code == "queue_share_exceeded"
        assert caught.value.retry_after
        waiting.append(pool.submit(client.embed_timed, [item(4)], caller="modest"))
        eventually(lambda: client.status().queue_length == 2)
        with pytest.raises(Overloaded):
            client.embed_timed([item(5, cost=QUEUE)], caller="another")
        model.gate.set()
        for call in (running, *waiting):
            call.result()
    assert 3 not in model.tokens


def test_what_nobody_waits_for_any_more_is_not_computed(client: EngineClient, model: FakeModel) -> None:
    client.description  # noqa: B018 - the greeting comes first
    model.gate.clear()
    departure = Departure()
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(client.embed_timed, [item(1)])
        eventually(model.entered.is_set)
        left = pool.submit(client.embed_timed, [item(2)], departure=departure)
        eventually(lambda: client.status().queue_length == 1)
        departure.happen()
        with pytest.raises(CallerLeft):
            left.result(30)
        eventually(lambda: client.status().queue_length == 0)
        model.gate.set()
        running.result()
    np.testing.assert_allclose(client.embed_prepared([item(3)]), [vector(3)], atol=1e-7)
    assert 2 not in model.tokens
    assert client.status().counts["cancelled"] == 1


def test_who_left_before_the_work_began_is_not_worked_for(client: EngineClient, model: FakeModel) -> None:
    departure = Departure()
    departure.happen()
    departure.happen()
    with pytest.raises(CallerLeft):
        departure.expect_presence()
    with pytest.raises(CallerLeft):
        client.embed_timed([item(2)], departure=departure)


def test_a_departure_after_the_work_means_nothing_to_it() -> None:
    stopped: list[str] = []
    departure = Departure()
    with departure.means(lambda: stopped.append("done")):
        departure.expect_presence()
    with departure.means(lambda: stopped.append("in progress")):
        departure.happen()
    assert stopped == ["in progress"]
    assert departure.happened
