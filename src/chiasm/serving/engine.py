"""The engine process: owns the weights of its models on one device, and answers over the wire."""

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

import numpy as np

from chiasm.errors import ChiasmError, Overloaded, SettingsError
from chiasm.modality import Audio, Image, Item, Modality, Part, Text, Video
from chiasm.observe.carried import carried, carrying
from chiasm.observe.telemetry import Telemetry
from chiasm.observe.traces import tracing
from chiasm.preprocess import Embedder, Preprocessor
from chiasm.serving.batching import BatchingConfig
from chiasm.serving.cache import ResultCache
from chiasm.serving.lane import EmbedLane
from chiasm.serving.messages import Payload, error_to_info
from chiasm.serving.observing import EngineObserver
from chiasm.serving.packing import (
    EmbedRequest,
    EngineStatus,
    ModelStanding,
    ModelStandings,
    PerformRequest,
    from_payload,
    to_payload,
    unpack_items,
)
from chiasm.serving.registry import Live, Registry
from chiasm.serving.resolve import resolve
from chiasm.serving.rpc import IncomingCall, RpcServer
from chiasm.serving.served import Served
from chiasm.serving.shelf import Shelf, Source
from chiasm.serving.wire import Array
from chiasm.settings import NamedSource, Settings

logger = logging.getLogger(__name__)

DEFAULT_LOADER = "chiasm.inference:load"
WEIGHER = "chiasm.checkpoints:weight_of"
WATCH_SECONDS = 1.0


class EngineServer:
    """Serves ``describe``, ``embed``, ``perform``, ``models`` and ``status``.

    Args:
        model: the first model; its ``embed_prepared`` is called from one thread only, as that of all.
        settings: bounds of queue, batch, cache and memory.
        address: ``ipc:///…`` in a folder of mode 0700.
        telemetry: where it counts and traces.
        others: further models by name, to be loaded when they are asked for.
    """

    def __init__(
        self,
        model: Embedder,
        settings: Settings,
        address: str,
        telemetry: Telemetry | None = None,
        others: Mapping[str, Source] | None = None,
    ) -> None:
        engine = settings.engine
        self._revision = model.description.revision
        self._stuck_seconds = engine.stuck_seconds
        self._started = time.monotonic()
        self._lane = EmbedLane(
            BatchingConfig(
                max_queue_cost=engine.max_queue_cost,
                max_batch_cost=engine.max_batch_cost,
                max_wait=engine.max_wait,
                caller_share=engine.key_share,
            ),
            ResultCache(engine.cache_bytes),
        )
        self._shelf = Shelf(
            served(model, telemetry or Telemetry()),
            others or {},
            occupied=self._lane.occupied,
            budget=engine.memory_bytes,
            idle_seconds=engine.idle_seconds,
        )
        self._server = RpcServer(
            address,
            {"models": self._models, "status": self._status},
            deferred={"describe": self._describe, "embed": self._embed, "perform": self._perform},
            on_cancel=lambda call: self._lane.cancel(call.key),
            threads=2,
        )

    def start(self) -> None:
        """Begin to answer; compute in a thread of its own."""
        self._lane.start()
        self.listen()

    def listen(self) -> None:
        """Begin to answer; :meth:`compute` does the rest."""
        self._shelf.start()
        self._server.start()

    def compute(self) -> None:
        """Compute in this thread, until :meth:`stop`."""
        self._lane.run()

    @property
    def stuck(self) -> bool:
        """Whether the present batch has been running for too long."""
        return float(self._lane.state()["busy_seconds"]) > self._stuck_seconds

    def stop(self, grace: float) -> None:
        """Refuse new calls, finish those in progress within ``grace`` seconds, close."""
        self._shelf.close()
        self._server.stop(grace)
        self._lane.stop(timeout=1.0)

    def _describe(self, call: IncomingCall) -> None:
        def answer(found: Served) -> None:
            call.reply({"description": found.model.description.to_bytes()})

        self._shelf.use(str(call.payload.get("model", "")), answer, call.fail)

    def _models(self, _payload: Payload, _arrays: list[Array]) -> tuple[Payload, list[Array]]:
        standings = tuple(
            ModelStanding(
                one.name, one.state, one.bytes, None if one.error is None else error_to_info(one.error)
            )
            for one in self._shelf.standings()
        )
        return to_payload(ModelStandings(standings)), []

    def _status(self, _payload: Payload, _arrays: list[Array]) -> tuple[Payload, list[Array]]:
        state = self._lane.state()
        status = EngineStatus(
            pid=os.getpid(),
            revision=self._revision,
            uptime=time.monotonic() - self._started,
            stuck=self.stuck,
            **state,
        )
        return to_payload(status), []

    def _embed(self, call: IncomingCall) -> None:
        request: EmbedRequest = from_payload(call.payload, EmbedRequest)
        items = unpack_items(request, call.arrays)
        keys = [item.key for item in request.items]
        self._with_model(call, request, lambda found: self._lane.submit(call, found, items, keys))

    def _perform(self, call: IncomingCall) -> None:
        request: PerformRequest = from_payload(call.payload, PerformRequest)
        items = unpack_items(request, call.arrays)
        self._with_model(
            call,
            request,
            lambda found: self._lane.perform(call, found, request.task, items, request.options),
        )

    def _with_model(
        self, call: IncomingCall, request: EmbedRequest, submit: Callable[[Served], None]
    ) -> None:
        """Once the model is there, and if it is the one that the items were prepared for."""
        came_with = carried()

        def use(found: Served) -> None:
            if request.revision != found.revision:
                raise Overloaded(
                    f"expected input prepared for revision {found.revision}, got {request.revision}",
                    f"推理引擎当前的模型版本为 {found.revision}，输入是为 {request.revision} 准备的",
                    code="model_changed",
                    retry_after=0.1,
                )
            if not call.cancelled:
                with carrying(came_with):
                    submit(found)

        self._shelf.use(request.model, use, call.fail)


def served(model: Embedder, telemetry: Telemetry) -> Served:
    """A loaded model whose work is counted under its name."""
    return Served(model=model, observer=EngineObserver(model.description, telemetry))


def run_engine(
    settings: Settings, address: str, *, loader: str = DEFAULT_LOADER, grace: float = 10.0
) -> None:
    """Load the model, warm it up, answer at ``address`` until SIGTERM or SIGINT, then drain.

    Args:
        settings: ``model`` says what to load and where; ``engine`` bounds the work.
        address: ``ipc:///…`` in a folder of mode 0700.
        loader: ``module:function`` that is called as ``load(source, device=…, precision=…)``, with ``name=…``
            where the model is to be called otherwise.
        grace: seconds that work in progress is given at the end.

    Raises:
        CheckpointError: the model cannot be loaded.
    """
    stop, changed = threading.Event(), threading.Event()
    _on_signals(stop, changed)
    if settings.model.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.model.threads)  # read when the libraries are loaded
    with tracing(settings.server.otlp_endpoint, "engine") as tracer:
        telemetry = Telemetry(tracer=tracer)
        made_by = partial(_make, settings, address, loader, telemetry)
        _serve(made_by, settings.engine.stuck_seconds, grace, stop, changed)


def _serve(
    make: Callable[[], EngineServer],
    stuck_seconds: float,
    grace: float,
    stop: threading.Event,
    changed: threading.Event,
) -> None:
    made: Future[EngineServer] = Future()
    made.add_done_callback(lambda _made: changed.set())

    def compute() -> None:
        try:
            server = make()
        except Exception as error:  # noqa: BLE001  (raised where it is waited for)
            made.set_exception(error)
            return
        made.set_result(server)
        try:
            server.compute()
        finally:
            stop.set()

    # OpenMP gives each thread that computes a team of its own, and where the teams together outnumber the
    # cores, none waits actively any more: a text took half as long again. So one thread does it all.
    threading.Thread(target=compute, name="compute", daemon=True).start()
    changed.wait()
    if stop.is_set():
        return
    server = made.result()
    _watch(server, stuck_seconds, stop)
    server.stop(grace)


def _watch(server: EngineServer, seconds: float, stop: threading.Event) -> None:
    """Wait for ``stop``; end the process, so that another takes its place, when one batch takes too long.

    A computation that is stuck cannot be ended in any other way. While it holds the interpreter's lock not
    even this thread runs: then the timer of ``faulthandler`` goes off, which does not need it.
    """
    if not seconds:
        stop.wait()
        return
    tick = min(WATCH_SECONDS, seconds / 2)
    while True:
        faulthandler.dump_traceback_later(seconds + tick, exit=True)
        if stop.wait(tick):
            break
        if server.stuck:
            logger.error("one batch took longer than %g s (engine.stuck_seconds): starting anew", seconds)
            faulthandler.dump_traceback(all_threads=True)
            os._exit(1)
    faulthandler.cancel_dump_traceback_later()


def _make(settings: Settings, address: str, loader: str, telemetry: Telemetry) -> EngineServer:
    """Load, warm up, begin to listen."""
    model = _loaded(settings, loader, settings.model.first)
    if "embed" not in model.description.capabilities:
        raise SettingsError(
            f"expected a first model that gives vectors, which search needs, got {model.description.name}; "
            "name it after another: --model chiasm-mini --model NAME=SOURCE",
            f"第一个模型应能给出向量（搜索所需），实际为 {model.description.name}；"
            "请把它放在别的模型之后：--model chiasm-mini --model 名称=来源",
            param="model.source",
        )
    _limit_torch(settings.model.threads)
    warm_up(model)
    others = Live(
        Registry(settings),
        lambda one: Source(
            load=partial(_served, settings, loader, telemetry, one), weigh=partial(_weight, one.source)
        ),
    )
    server = EngineServer(model, settings, address, telemetry, others)
    server.listen()
    logger.info("serving %s (%s)", model.description.name, model.description.revision)
    return server


def _served(settings: Settings, loader: str, telemetry: Telemetry, source: NamedSource) -> Served:
    model = _loaded(settings, loader, source)
    warm_up(model)
    return served(model, telemetry)


def _loaded(settings: Settings, loader: str, source: NamedSource) -> Embedder:
    load = cast(Callable[..., Embedder], resolve(loader))
    chosen = settings.model
    named = {"name": source.name} if source.name else {}
    return load(source.source, device=chosen.device, precision=chosen.precision, **named)


def _weight(source: str) -> int:
    return cast(Callable[[str], int], resolve(WEIGHER))(source)


def warm_up(model: Embedder) -> None:
    """Compute one small item of each modality, so that the first request does not pay for it; of a model that
    gives no vectors nothing.

    Raises:
        ChiasmError: the model cannot compute what it says it takes.
    """
    if "embed" not in model.description.capabilities:
        return
    preprocessor = Preprocessor(model.description)
    samples: dict[Modality, Part] = {
        Modality.TEXT: Text("warm-up"),
        Modality.IMAGE: Image(np.full((32, 32, 3), 127, np.uint8)),
        Modality.AUDIO: Audio(np.zeros(16_000, np.float32), 16_000),
        Modality.VIDEO: Video(np.full((2, 32, 32, 3), 127, np.uint8), 1.0),
    }
    for modality in model.description.modalities:
        try:
            model.embed_prepared([preprocessor.prepare(Item((samples[modality],)))])
        except ChiasmError as error:
            raise error.at(f"warm-up.{modality.value}") from None


def _on_signals(*events: threading.Event) -> None:
    """Have SIGTERM and SIGINT set all of them."""

    def tell(_number: int, _frame: Any) -> None:
        for event in events:
            event.set()

    signal.signal(signal.SIGTERM, tell)
    signal.signal(signal.SIGINT, tell)


def _limit_torch(threads: int) -> None:
    torch = sys.modules.get("torch")  # a model may do without
    if torch is not None and threads > 0:
        torch.set_num_threads(threads)
