"""The models of one engine: the first is always there, the others are loaded when somebody asks for them.

However many ask, a model is loaded once; models are loaded one at a time, in a thread that ends with it. One
that nobody has used for a while goes, and so does the one used longest ago when another needs its memory.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from chiasm.errors import CheckpointError, ChiasmError, NotFound, Overloaded
from chiasm.preprocess import Embedder
from chiasm.serving.served import Served

logger = logging.getLogger(__name__)

RETRY_SECONDS = 10.0  # that a model which could not be loaded is not tried again
Standing = Literal["unloaded", "loading", "loaded", "failed"]
Then = Callable[[Served], None]
Fail = Callable[[ChiasmError], None]


@runtime_checkable
class Weighs(Protocol):
    """A model that knows how much memory its weights take."""

    @property
    def bytes(self) -> int:
        """Of all weights."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A model that can be had.

    Attributes:
        load: reads it and computes something with it; slow.
        weigh: about how many bytes its weights will take, before they are read.
    """

    load: Callable[[], Served]
    weigh: Callable[[], int]


@dataclass(frozen=True, kw_only=True)
class Standings:
    """How a model stands; ``error`` says why it could not be loaded."""

    name: str
    state: Standing
    bytes: int
    error: ChiasmError | None = None


@dataclass(kw_only=True, eq=False)
class _Slot:
    name: str
    source: Source
    served: Served | None = None
    bytes: int = 0
    used: float = 0.0
    loading: bool = False
    failure: tuple[ChiasmError, float] | None = None
    waiting: list[tuple[Then, Fail]] = field(default_factory=list)

    @property
    def state(self) -> Standing:
        if self.served is not None:
            return "loaded"
        if self.loading:
            return "loading"
        return "unloaded" if self.failure is None else "failed"


class Shelf:
    """Models by name. Thread-safe.

    Args:
        first: the model that is always there; also goes by the empty name.
        others: what can be loaded, by name; looked at anew each time, as more may come.
        occupied: whether work for a model waits or is being computed.
        budget: bytes of weights that may be loaded at a time, those of the first included; 0 for any number.
        idle_seconds: after which an unused model goes; 0 for never.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        first: Served,
        others: Mapping[str, Source],
        *,
        occupied: Callable[[Served], bool],
        budget: int = 0,
        idle_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = first
        self._others = others
        self._slots: dict[str, _Slot] = {}
        self._occupied = occupied
        self._budget = budget
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # who holds it loads
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to look for idle models."""
        if self._idle_seconds > 0:
            threading.Thread(target=self._tidy, name="shelf", daemon=True).start()

    def close(self) -> None:
        """Load and unload nothing any more."""
        self._closed.set()

    def use(self, name: str, then: Then, fail: Fail) -> None:
        """Give the model to ``then``: at once, or from another thread when it is loaded; else tell ``fail``.

        Raises:
            NotFound: there is none of this name.
        """
        if name in {"", self._first.model.description.name}:
            then(self._first)
            return
        slot = self._slot(name)
        if slot is None:
            raise NotFound(
                f"there is no model {name[:100]!r}",
                f"没有模型 {name[:100]!r}",
                param="model",
                code="model_not_found",
            )
        with self._lock:
            slot.used = self._clock()
            served, failure = slot.served, slot.failure
            if served is None and failure is not None and slot.used - failure[1] >= RETRY_SECONDS:
                failure = slot.failure = None
            if served is None and failure is None:
                slot.waiting.append((then, fail))
                if not slot.loading:
                    slot.loading = True
                    threading.Thread(target=self._load, args=(slot,), name="load", daemon=True).start()
                return
        if served is not None:
            then(served)
        elif failure is not None:
            fail(failure[0])

    def standings(self) -> list[Standings]:
        """Of all models, the first one first."""
        slots = [slot for name in self._others if (slot := self._slot(name)) is not None]
        with self._lock:
            others = [
                Standings(
                    name=slot.name,
                    state=slot.state,
                    bytes=slot.bytes,
                    error=None if slot.failure is None else slot.failure[0],
                )
                for slot in slots
            ]
        first = self._first.model
        return [Standings(name=first.description.name, state="loaded", bytes=_bytes_of(first, 0)), *others]

    def _slot(self, name: str) -> _Slot | None:
        """The model's, if there is one of this name now; a new one when it comes from elsewhere now."""
        source = self._others.get(name)
        with self._lock:
            slot = self._slots.get(name)
            if slot is not None and slot.source is source:
                return slot
            self._slots.pop(name, None)  # its weights go with the work that still needs them
            if source is None:
                return None
            return self._slots.setdefault(name, _Slot(name=name, source=source))

    def _load(self, slot: _Slot) -> None:
        error: ChiasmError | None = None
        served: Served | None = None
        with self._turn:
            try:
                expected = slot.bytes or slot.source.weigh()
                self._make_room(slot, expected)
                logger.info("loading %s", slot.name)
                served = slot.source.load()
                slot.bytes = _bytes_of(served.model, expected)
                self._make_room(slot, slot.bytes)
            except ChiasmError as caught:
                error = caught
            except Exception as caught:
                logger.exception("%s could not be loaded", slot.name)
                error = CheckpointError(
                    f"{slot.name} could not be loaded: {type(caught).__name__}",
                    f"无法加载 {slot.name}：{type(caught).__name__}",
                )
        with self._lock:
            slot.loading = False
            slot.used = self._clock()
            waiting, slot.waiting = slot.waiting, []
            if error is None:
                slot.served = served
            elif not isinstance(error, Overloaded):  # of which the next call may find nothing any more
                slot.failure = (error, slot.used)
        if error is not None:
            logger.error("%s cannot be served: %s", slot.name, error.en)
        for then, fail in waiting:
            _hand_over(served if error is None else None, error, then, fail)

    def _make_room(self, slot: _Slot, size: int) -> None:
        """Unload what was used longest ago until ``size`` more bytes fit.

        Raises:
            CheckpointError: they never will.
            Overloaded: models that are at work are in the way.
        """
        if not self._budget:
            return
        pinned = _bytes_of(self._first.model, 0)
        if pinned + size > self._budget:
            raise CheckpointError(
                f"{slot.name} needs {size} bytes beside the {pinned} of the first model, "
                f"more than engine.memory_bytes = {self._budget}",
                f"{slot.name} 需要 {size} 字节，首个模型占 {pinned} 字节，"
                f"超出 engine.memory_bytes = {self._budget}",
                param="engine.memory_bytes",
                code="model_too_large",
            )
        with self._lock:
            loaded = [other for other in self._slots.values() if other.served is not None]
            free = self._budget - pinned - sum(other.bytes for other in loaded)
            for other in sorted(loaded, key=lambda one: one.used):
                if free >= size:
                    break
                if other.served is not None and not self._occupied(other.served):
                    self._unload(other, "its memory is needed")
                    free += other.bytes
        if free < size:
            raise Overloaded(
                f"other models are at work in the memory that {slot.name} needs (engine.memory_bytes)",
                f"{slot.name} 所需的内存正被其他模型占用（engine.memory_bytes）",
                code="models_busy",
                retry_after=1.0,
            )

    def _tidy(self) -> None:
        while not self._closed.wait(max(0.05, min(30.0, self._idle_seconds / 4))):
            with self._lock:
                for slot in self._slots.values():
                    idle = self._clock() - slot.used >= self._idle_seconds
                    if slot.served is not None and idle and not self._occupied(slot.served):
                        self._unload(slot, "nobody has used it for a while")

    def _unload(self, slot: _Slot, why: str) -> None:
        logger.info("unloading %s: %s", slot.name, why)
        slot.served = None


def _hand_over(served: Served | None, error: ChiasmError | None, then: Then, fail: Fail) -> None:
    """One of those who waited must not spoil it for the others."""
    try:
        if served is not None:
            then(served)
            return
    except ChiasmError as refused:
        error = refused
    except Exception:
        logger.exception("a call that waited for a model failed")
    with suppress(Exception):
        fail(error or Overloaded("the model could not be used", "无法使用该模型"))


def _bytes_of(model: Embedder, otherwise: int) -> int:
    return model.bytes if isinstance(model, Weighs) else otherwise
