"""The engine and its client, over a real socket; the model is a fake, in this process."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from fake_engine_model import CRASHES, NOT_A_NUMBER, REFUSED, FakeModel, item, vector

from chiasm.errors import ChiasmError, DeadlineExceeded, InvalidInput, Overloaded
from chiasm.modality import Modality
from chiasm.preprocess import PreparedItem, PreparedPart
from chiasm.serving.batching import BatchingConfig
from chiasm.serving.cache import ResultCache
from chiasm.serving.client import EngineClient
from chiasm.serving.engine import EngineServer, warm_up
from chiasm.serving.lane import EmbedLane
from chiasm.serving.packing import EmbedRequest, bucket_of, from_payload, pack_items, unpack_items
from chiasm.serving.served import Served
from chiasm.settings import EngineSettings, Settings

SETTINGS = Settings(
    engine=EngineSettings(max_queue_cost=8.0, max_batch_cost=4.0, max_wait=0.02, stuck_seconds=0.2)
)


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/e"  # pytest makes its folders with mode 0700


@pytest.fixture
def client(model: FakeModel, address: str) -> Iterator[EngineClient]:
    server = EngineServer(model, SETTINGS, address)
    server.start()
    with EngineClient(address) as client:
        yield client
    model.gate.set()
    server.stop(1.0)


def test_the_greeting_describes_the_model(client: EngineClient, model: FakeModel) -> None:
    assert client.description == model.description
    assert client.description is client.description


def test_vectors_come_in_the_order_of_the_items(client: EngineClient) -> None:
    got = client.embed_prepared([item(n) for n in range(11)])
    np.testing.assert_allclose(got, [vector(n) for n in range(11)], atol=1e-7)


def test_no_items_give_no_vectors(client: EngineClient) -> None:
    assert client.embed_prepared([]).shape == (0, 4)


def test_many_callers_share_batches(client: EngineClient, model: FakeModel) -> None:
    model.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(client.embed_prepared, [item(n)]) for n in range(8)]
        eventually(lambda: client.status().queue_length + len(model.tokens) == 8)
        model.gate.set()
        for n, call in enumerate(calls):
            np.testing.assert_allclose(call.result(), [vector(n)], atol=1e-7)
    assert len(model.batches) < 8


def test_what_was_computed_before_is_not_computed_again(client: EngineClient, model: FakeModel) -> None:
    first = client.embed_timed([item(1), item(2)])
    second = client.embed_timed([item(2), item(3), item(1)])
    assert (first.cached, second.cached) == (0, 2)
    assert sorted(model.tokens) == [1, 2, 3]
    np.testing.assert_allclose(second.vectors, [vector(2), vector(3), vector(1)], atol=1e-7)


def test_timings_tell_waiting_from_computing(client: EngineClient) -> None:
    result = client.embed_timed([item(1)])
    assert result.queue_ms >= 0
    assert result.inference_ms > 0
    again = client.embed_timed([item(1)])
    assert (again.inference_ms, again.cached) == (0, 1)


@dataclass(frozen=True, eq=False)
class Asked:
    """A call to the lane itself."""

    key: str
    caller: str = ""
    answered: threading.Event = field(default_factory=threading.Event)
    deadline: float | None = None
    expired: bool = False

    def reply(self, payload: object, arrays: object = ()) -> None:
        self.answered.set()

    def fail(self, error: BaseException) -> None:
        raise AssertionError from error


def test_only_who_may_expect_company_waits_for_it(model: FakeModel) -> None:
    lane = EmbedLane(BatchingConfig(max_batch_cost=4.0, max_wait=3600.0), ResultCache(0))
    served = Served(model=model)
    lane.start()

    def ask(token: int) -> Asked:
        call = Asked(str(token))
        lane.submit(call, served, [item(token)], [bytes([token])])
        return call

    for token in (1, 2):
        assert ask(token).answered.wait(60), "it came alone, and so did the one before"
    model.gate.clear()
    model.entered.clear()
    first = ask(3)
    assert model.entered.wait(60)
    together = [ask(4), ask(5)]
    model.gate.set()
    assert all(call.answered.wait(60) for call in (first, *together))
    assert model.batches[-1] == [4, 5]
    more = [ask(6), ask(7), ask(8)]
    assert model.tokens[-1] == 5, "now there is company to wait for"
    more.append(ask(9))
    assert all(call.answered.wait(60) for call in more)
    assert model.batches[-1] == [6, 7, 8, 9]
    lane.stop(60)


@pytest.mark.parametrize(
    ("token", "kind", "expected"),
    [
        (CRASHES, ChiasmError, ("internal_error", "input[1]")),
        (REFUSED, InvalidInput, ("invalid_value", "input[1].text")),
        (NOT_A_NUMBER, ChiasmError, ("internal_error", "input[1]")),
    ],
)
def test_a_bad_item_fails_alone_and_is_named(
    client: EngineClient, model: FakeModel, token: int, kind: type[ChiasmError], expected: tuple[str, str]
) -> None:
    model.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        bad = pool.submit(client.embed_prepared, [item(1), item(token)])
        good = pool.submit(client.embed_prepared, [item(2), item(3)])
        eventually(lambda: client.status().queue_length + len(model.tokens) == 4)
        model.gate.set()
        np.testing.assert_allclose(good.result(), [vector(2), vector(3)], atol=1e-7)
        with pytest.raises(kind) as caught:
            bad.result()
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.param) == expected
    assert "secret" not in caught.value.en


def test_a_full_queue_answers_at_once(client: EngineClient, model: FakeModel) -> None:
    model.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(client.embed_prepared, [item(1)])
        eventually(model.entered.is_set)
        waiting = pool.submit(client.embed_prepared, [item(2, cost=8.0)])
        eventually(lambda: client.status().queue_length == 1)
        with pytest.raises(Overloaded) as caught:  # while the model stands still
            client.embed_prepared([item(3)])
        assert caught.value.code == "queue_full"
        assert caught.value.retry_after
        model.gate.set()
        running.result()
        waiting.result()
    assert 3 not in model.tokens
    assert client.status().counts["refused"] == 1


def test_work_past_its_deadline_is_dropped_before_computing(client: EngineClient, model: FakeModel) -> None:
    client.embed_prepared([item(0)])  # greeting known, so that the deadline below is spent in the queue
    model.gate.clear()
    model.entered.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.embed_prepared, [item(1)])
        eventually(model.entered.is_set)
        with pytest.raises(DeadlineExceeded):
            client.embed_prepared([item(2)], deadline=time.time() + 0.2)
        eventually(lambda: client.status().queue_length == 0)
        model.gate.set()
        running.result()
    client.embed_prepared([item(3)])
    assert 2 not in model.tokens


def test_a_deadline_that_has_passed_is_not_even_sent(client: EngineClient, model: FakeModel) -> None:
    with pytest.raises(DeadlineExceeded):
        client.embed_prepared([item(1)], deadline=time.time() - 1)
    assert model.batches == []


def test_a_batch_that_runs_too_long_shows_as_stuck(client: EngineClient, model: FakeModel) -> None:
    assert not client.status().stuck
    model.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.embed_prepared, [item(1)])
        eventually(lambda: client.status().stuck)
        assert client.status().busy_seconds > SETTINGS.engine.stuck_seconds
        model.gate.set()
        running.result()
    eventually(lambda: client.status().busy_seconds == 0)


def test_a_large_list_goes_in_several_calls(
    client: EngineClient, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chiasm.serving.client.ITEMS_PER_CALL", 4)
    items = [item(n) for n in range(10)]
    result = client.embed_timed(items)
    np.testing.assert_allclose(result.vectors, [vector(n) for n in range(10)], atol=1e-7)
    with pytest.raises(InvalidInput) as caught:
        client.embed_prepared([*items, item(REFUSED)])
    assert caught.value.param == "input[10].text"
    assert client.status().counts["calls"] == 6


def test_an_engine_that_came_back_with_another_model_is_noticed(address: str) -> None:
    def serve(revision: str) -> EngineServer:
        server = EngineServer(FakeModel(revision), SETTINGS, address)
        server.start()
        return server

    with EngineClient(address, connect_grace=20) as client:
        first = serve("r1")
        assert client.description.revision == "r1"
        first.stop(1.0)
        second = serve("r2")
        with pytest.raises(Overloaded) as caught:
            client.embed_timed([item(1)], revision="r1")  # what the caller prepared it for
        assert caught.value.code == "model_changed"
        assert client.description.revision == "r2"
        np.testing.assert_allclose(client.embed_prepared([item(1)]), [vector(1)], atol=1e-7)
        second.stop(1.0)


def test_warming_up_computes_one_item_of_each_modality(model: FakeModel) -> None:
    warm_up(model)
    assert len(model.batches) == len(model.description.modalities)


def mixed_item() -> PreparedItem:
    return PreparedItem(
        (
            PreparedPart(Modality.IMAGE, {"pixels": np.full((4, 4, 3), 9, np.uint8)}, 0, 1.0),
            PreparedPart(
                Modality.AUDIO,
                {"log_mel": np.ones((30, 8), np.float32), "transcript_ids": np.array([5, 6], np.int32)},
                2,
                0.5,
            ),
        )
    )


def test_prepared_items_survive_the_way() -> None:
    payload, arrays = pack_items([item(7), mixed_item()], "r1")
    request: EmbedRequest = from_payload(payload, EmbedRequest)
    back = unpack_items(request, arrays)
    assert [i.key() for i in back] == [header.key for header in request.items]
    assert [i.cost for i in back] == [1.0, 1.5]
    assert back[1].parts[1].truncated == 2


def test_items_and_arrays_that_do_not_fit_together_are_refused() -> None:
    payload, arrays = pack_items([mixed_item()], "r1")
    request: EmbedRequest = from_payload(payload, EmbedRequest)
    for wrong in (arrays[:-1], [*arrays, arrays[0]]):
        with pytest.raises(InvalidInput, match="3 arrays"):
            unpack_items(request, wrong)
    with pytest.raises(InvalidInput, match="EmbedRequest"):
        from_payload({"revision": 3}, EmbedRequest)


def test_what_can_be_computed_together_shares_a_bucket() -> None:
    def text(length: int) -> str:
        ids = np.zeros(length, np.int32)
        return bucket_of(PreparedItem((PreparedPart(Modality.TEXT, {"token_ids": ids}, 0, 1.0),)))

    assert text(3) == text(16) == "text:16"
    assert text(17) == text(32) == "text:32"
    assert bucket_of(mixed_item()) == "mixed"
    assert bucket_of(PreparedItem(mixed_item().parts[:1])) == "image"
