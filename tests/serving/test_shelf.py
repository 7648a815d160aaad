"""Several models in one engine, over a real socket."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from fake_engine_model import FakeModel, item, vector
from test_engine import eventually

from chiasm.errors import CheckpointError, ChiasmError, NotFound, Overloaded
from chiasm.serving.client import EngineClient
from chiasm.serving.engine import EngineServer
from chiasm.serving.served import Served
from chiasm.serving.shelf import Shelf, Source
from chiasm.settings import EngineSettings, NamedSource, Settings, SettingsError


class Heavy(FakeModel):
    """A fake with a name and a weight."""

    def __init__(self, name: str, size: int = 0, revision: str = "r1") -> None:
        super().__init__(revision)
        self.description = replace(self.description, name=name)
        self.bytes = size


@dataclass
class Maker:
    """Loads fakes and remembers them."""

    name: str
    size: int = 0
    revision: str = "r1"
    failure: Exception | None = None
    made: list[Heavy] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def load(self) -> Served:
        assert self.gate.wait(60)
        if self.failure is not None:
            raise self.failure
        self.made.append(Heavy(self.name, self.size, self.revision))
        return Served(model=self.made[-1])

    def source(self) -> Source:
        return Source(load=self.load, weigh=lambda: self.size)


@dataclass
class Engine:
    client: EngineClient
    server: EngineServer
    first: Heavy
    makers: dict[str, Maker]

    def states(self) -> dict[str, str]:
        return {one.name: one.state for one in self.client.standings()}


@pytest.fixture
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    bounds = EngineSettings(max_wait=0.0, **getattr(request, "param", {}))
    first = Heavy("first", 100, "first-r")
    makers = {name: Maker(name, 100, f"{name}-r") for name in ("a", "b", "c")}
    address = f"ipc://{tmp_path}/e"
    others = {name: maker.source() for name, maker in makers.items()}
    server = EngineServer(first, Settings(engine=bounds), address, others=others)
    server.start()
    with EngineClient(address) as client:
        yield Engine(client, server, first, makers)
    for model in [first, *(m for maker in makers.values() for m in maker.made)]:
        model.gate.set()
    server.stop(1.0)


def test_a_model_is_loaded_when_it_is_asked_for_and_answers_for_itself(engine: Engine) -> None:
    assert engine.states() == {"first": "loaded", "a": "unloaded", "b": "unloaded", "c": "unloaded"}
    got = engine.client.of("a").embed_prepared([item(3)])
    np.testing.assert_allclose(got, [vector(3)], atol=1e-7)
    assert engine.client.of("a").description.name == "a"
    assert engine.states()["a"] == "loaded"
    assert engine.client.description.name == engine.client.of("first").description.name == "first"
    assert (engine.first.tokens, engine.makers["a"].made[0].tokens) == ([], [3])


def test_however_many_ask_it_is_loaded_once(engine: Engine) -> None:
    maker = engine.makers["a"]
    maker.gate.clear()
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(engine.client.of("a").embed_prepared, [item(n)]) for n in range(12)]
        eventually(lambda: engine.states()["a"] == "loading")
        np.testing.assert_allclose(engine.client.embed_prepared([item(1)]), [vector(1)], atol=1e-7)
        maker.gate.set()
        for n, call in enumerate(calls):
            np.testing.assert_allclose(call.result(60), [vector(n)], atol=1e-7)
    assert len(maker.made) == 1


def test_the_same_content_is_computed_by_each_model(engine: Engine) -> None:
    for name in ("first", "a", "b", "a", "b"):
        engine.client.of(name).embed_prepared([item(7)])
    assert [engine.first.tokens, *(engine.makers[name].made[0].tokens for name in "ab")] == [[7], [7], [7]]


def test_batches_are_of_one_model(engine: Engine) -> None:
    engine.client.of("a").embed_prepared([item(0)])
    model = engine.makers["a"].made[0]
    engine.first.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        calls = [
            pool.submit(engine.client.of(("first", "a")[n % 2]).embed_prepared, [item(n)])
            for n in range(1, 9)
        ]
        eventually(
            lambda: engine.client.status().queue_length + len(engine.first.tokens) + len(model.tokens) == 9
        )
        engine.first.gate.set()
        for n, call in enumerate(calls, 1):
            np.testing.assert_allclose(call.result(60), [vector(n)], atol=1e-7)
    assert sorted(engine.first.tokens) == [2, 4, 6, 8] or sorted(engine.first.tokens) == [1, 3, 5, 7]
    assert sorted(model.tokens) != sorted(engine.first.tokens)


def test_a_name_that_is_not_served(engine: Engine) -> None:
    with pytest.raises(NotFound, match="there is no model 'z'"):
        engine.client.of("z").description.name  # noqa: B018
    with pytest.raises(NotFound):
        engine.client.of("z").embed_timed([item(1)], revision="r1")


def test_why_a_model_cannot_be_loaded_is_told_and_not_tried_again_at_once(engine: Engine) -> None:
    maker = engine.makers["a"]
    maker.failure = CheckpointError("expected weights", "缺少权重")
    for _ in range(3):
        with pytest.raises(CheckpointError, match="expected weights"):
            engine.client.of("a").description.name  # noqa: B018
    assert engine.states()["a"] == "failed"
    assert engine.client.of("b").embed_prepared([item(1)]).shape == (1, 4)
    maker.failure = ZeroDivisionError("secret")
    engine.server._shelf._slots["a"].failure = None
    with pytest.raises(ChiasmError) as caught:
        engine.client.of("a").description.name  # noqa: B018
    assert "secret" not in caught.value.en


@pytest.mark.parametrize("engine", [{"memory_bytes": 300}], indirect=True)
def test_the_model_used_longest_ago_makes_room(engine: Engine) -> None:
    for name in ("a", "b", "a", "c"):
        engine.client.of(name).embed_prepared([item(1)])
    assert engine.states() == {"first": "loaded", "a": "loaded", "b": "unloaded", "c": "loaded"}
    engine.client.of("b").embed_prepared([item(2)])
    assert engine.states() == {"first": "loaded", "a": "unloaded", "b": "loaded", "c": "loaded"}
    assert len(engine.makers["b"].made) == 2


@pytest.mark.parametrize("engine", [{"memory_bytes": 200}], indirect=True)
def test_models_at_work_are_not_unloaded(engine: Engine) -> None:
    engine.client.of("a").embed_prepared([item(1)])
    busy = engine.makers["a"].made[0]
    busy.gate.clear()
    busy.entered.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(engine.client.of("a").embed_prepared, [item(2)])
        assert busy.entered.wait(60)
        with pytest.raises(Overloaded) as caught:
            engine.client.of("b").description.name  # noqa: B018
        assert caught.value.code == "models_busy"
        busy.gate.set()
        call.result(60)
    eventually(lambda: not engine.server._lane.occupied(engine.server._shelf._slots["a"].served))  # type: ignore[arg-type]
    assert engine.client.of("b").description.name == "b"


@pytest.mark.parametrize("engine", [{"memory_bytes": 150}], indirect=True)
def test_a_model_that_never_fits_is_refused(engine: Engine) -> None:
    with pytest.raises(CheckpointError, match="beside the 100 of the first model"):
        engine.client.of("a").description.name  # noqa: B018
    assert not engine.makers["a"].made


@pytest.mark.parametrize("engine", [{"idle_seconds": 0.3}], indirect=True)
def test_an_idle_model_goes_and_comes_back_but_the_first_stays(engine: Engine) -> None:
    client = engine.client.of("a")
    client.embed_prepared([item(1)])
    eventually(lambda: engine.states()["a"] == "unloaded")
    assert engine.states()["first"] == "loaded"
    engine.makers["a"].revision = "a-r2"
    with pytest.raises(Overloaded) as caught:  # prepared for what was there before
        client.embed_prepared([item(2)])
    assert caught.value.code == "model_changed"
    np.testing.assert_allclose(client.embed_prepared([item(2)]), [vector(2)], atol=1e-7)
    assert client.description.revision == "a-r2"


def test_an_unused_shelf_says_where_models_stand() -> None:
    first = Served(model=Heavy("first", 7))
    maker = Maker("a", 5)
    shelf = Shelf(first, {"a": maker.source()}, occupied=lambda _served: False)
    assert [(one.name, one.state, one.bytes) for one in shelf.standings()] == [
        ("first", "loaded", 7),
        ("a", "unloaded", 0),
    ]
    got: list[object] = []
    shelf.use("", got.append, got.append)
    assert got == [first]
    end = time.monotonic() + 20
    shelf.use("a", got.append, got.append)
    while len(got) < 2:
        assert time.monotonic() < end
    assert got[1].model is maker.made[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "name", "source"),
    [
        ("chiasm-mini", "", "chiasm-mini"),
        ("clip=hf:openai/clip", "clip", "hf:openai/clip"),
        ("a.b-c_1=/x=y", "a.b-c_1", "/x=y"),
        ("/models/a=b", "", "/models/a=b"),
        ("=x", "", "=x"),
        ("x=", "", "x="),
    ],
)
def test_sources_may_have_names(text: str, name: str, source: str) -> None:
    assert NamedSource.parse(text) == NamedSource(name=name, source=source)


def test_models_have_names_of_their_own() -> None:
    settings = Settings()
    chosen = replace(settings.model, others=("hf:a/clip@main", "/models/vit/", "x=/models/vit"))
    assert [one.name for one in chosen.sources()] == ["", "clip", "vit", "x"]
    for others in (("chiasm-mini",), ("/a/x", "x=/b"), ("/",)):
        with pytest.raises(SettingsError):
            replace(settings.model, others=others).sources()
