"""What the engine tells of its work: figures, a log line a call, and spans."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chiasm.modality import key_of
from chiasm.observe.carried import REQUEST_ID, Carried, carried, carrying
from chiasm.observe.logs import FIELDS
from chiasm.observe.telemetry import Telemetry
from chiasm.preprocess import ModelDescription, PreparedItem
from chiasm.serving.messages import Payload
from chiasm.serving.rpc_server import Handler
from chiasm.serving.wire import Array

logger = logging.getLogger(__name__)

TOKENS = ("token_ids", "transcript_ids")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A call that has its answer; ``queued`` and ``computed`` in seconds."""

    carried: Carried
    items: int
    cached: int
    failed: int
    queued: float
    computed: float


class LaneObserver:
    """Is told what a lane does, and keeps it to itself."""

    def looked_up(self, item: PreparedItem, *, found: bool) -> None:
        """The cache had the item's vector, or not."""

    def computed(self, items: Sequence[PreparedItem], seconds: float) -> None:
        """A batch has been computed."""

    def answered(self, call: Answered) -> None:
        """A call has its answer."""


class EngineObserver(LaneObserver):
    """Counts, logs and traces.

    Args:
        model: that computes.
        telemetry: where to.
        clock: seconds since the epoch.
    """

    def __init__(
        self, model: ModelDescription, telemetry: Telemetry, *, clock: Callable[[], float] = time.time
    ) -> None:
        audio = model.preprocess.audio
        self._name = model.name
        self._frame_seconds = audio.hop / audio.rate
        self._telemetry = telemetry
        self._clock = clock

    def looked_up(self, item: PreparedItem, *, found: bool) -> None:
        """See :class:`LaneObserver`."""
        metrics = self._telemetry.metrics
        counter = metrics.cache_hits if found else metrics.cache_misses
        counter.labels(self._name, modality_of(item)).inc()

    def computed(self, items: Sequence[PreparedItem], seconds: float) -> None:
        """See :class:`LaneObserver`."""
        metrics = self._telemetry.metrics
        kinds = {modality_of(item) for item in items}
        kind = kinds.pop() if len(kinds) == 1 else "mixed"
        metrics.inference_seconds.labels(self._name, kind).observe(seconds)
        metrics.batch_items.labels(self._name, kind).observe(len(items))
        metrics.batch_cost.labels(self._name, kind).observe(sum(item.cost for item in items))
        for item in items:
            metrics.items.labels(self._name, modality_of(item)).inc()
            self._count_contents(item)

    def answered(self, call: Answered) -> None:
        """See :class:`LaneObserver`."""
        metrics, tracer = self._telemetry.metrics, self._telemetry.tracer
        metrics.queue_seconds.labels(self._name).observe(call.queued)
        if call.failed:
            metrics.failed_items.labels(self._name).inc(call.failed)
        if not call.carried:
            return  # indexing, warming up: nobody looks for these one by one
        ended = self._clock()
        begun = ended - call.computed
        tracer.record("queue", begun=begun - call.queued, ended=begun, parent=call.carried)
        tracer.record("inference", begun=begun, ended=ended, parent=call.carried, items=call.items)
        with carrying(call.carried):
            log_call("embed", items=call.items, cached=call.cached, failed=call.failed,
                     queue_ms=_ms(call.queued), inference_ms=_ms(call.computed))  # fmt: skip

    def _count_contents(self, item: PreparedItem) -> None:
        metrics = self._telemetry.metrics
        for part in item.parts:
            labels = (self._name, part.modality.value)
            arrays = part.arrays
            tokens = sum(len(arrays[name]) for name in TOKENS if name in arrays)
            if tokens:
                metrics.tokens.labels(*labels).inc(tokens)
            if "pixels" in arrays:
                metrics.pixels.labels(*labels).inc(arrays["pixels"].size // 3)
            if "log_mel" in arrays:
                metrics.media_seconds.labels(*labels).inc(len(arrays["log_mel"]) * self._frame_seconds)


def observed(handlers: Mapping[str, Handler], service: str, telemetry: Telemetry) -> dict[str, Handler]:
    """``handlers``, each timed, traced, and, for a request from outside, logged."""
    return {name: _observed(handler, name, service, telemetry) for name, handler in handlers.items()}


def modality_of(item: PreparedItem) -> str:
    """``text``, ``image``, ``audio``, ``video`` or ``mixed``."""
    return key_of([part.modality for part in item.parts])


def log_call(name: str, **fields: object) -> None:
    """A line about a call that belongs to a request."""
    told = ", ".join(f"{field} {value}" for field, value in fields.items())
    logger.info("%s: %s", name, told, extra={FIELDS: {"call": name, **fields}})


def _observed(handler: Handler, name: str, service: str, telemetry: Telemetry) -> Handler:
    def handle(payload: Payload, arrays: list[Array]) -> tuple[Payload, Sequence[Array]]:
        seconds = telemetry.metrics.library_seconds.labels(name)
        if REQUEST_ID not in carried():
            with seconds.time():
                return handler(payload, arrays)
        begun = time.perf_counter()
        try:
            with telemetry.step(f"{service} {name}", seconds):
                return handler(payload, arrays)
        finally:
            log_call(name, ms=_ms(time.perf_counter() - begun))

    return handle


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
