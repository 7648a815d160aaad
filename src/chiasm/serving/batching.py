"""What is computed next: pure policy over (arrival, cost, deadline, now). No threads, no clock of its own.

Work waits in lanes, one for each bucket (pieces that can share a batch). The lane whose head has waited
longest goes first, so nothing starves; inside a lane order is kept.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Generic, TypeVar

T = TypeVar("T")

SMOOTHING = 0.3  # weight of the newest batch in the measured speed
FIRST_GUESS = 50.0  # cost per second before anything was measured


@dataclass(frozen=True, kw_only=True)
class BatchingConfig:
    """Bounds. Cost is in units of one picture through the image tower; ``max_wait`` in seconds."""

    max_queue_cost: float = 512.0
    max_batch_cost: float = 32.0
    max_wait: float = 0.002


@dataclass(frozen=True, kw_only=True, eq=False)
class Work(Generic[T]):
    """One piece of work: ``group`` is the call it belongs to, ``bucket`` what it can share a batch with."""

    group: Hashable
    bucket: str
    cost: float
    arrival: float
    deadline: float | None
    payload: T


@dataclass(frozen=True, kw_only=True)
class Batch(Generic[T]):
    """What to compute now (of one bucket, may be empty), and what is too late to compute."""

    works: tuple[Work[T], ...]
    expired: tuple[Work[T], ...]

    @property
    def cost(self) -> float:
        """Sum of the works' costs."""
        return sum(work.cost for work in self.works)


class BatchQueue(Generic[T]):
    """A queue bounded by cost. Not thread-safe: the owner holds a lock."""

    def __init__(self, config: BatchingConfig) -> None:
        self._config = config
        self._lanes: dict[str, deque[Work[T]]] = {}
        self._cost = 0.0
        self._speed = FIRST_GUESS

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def cost(self) -> float:
        """Cost of all that waits."""
        return self._cost

    def admit(self, works: Sequence[Work[T]]) -> bool:
        """Take all of ``works`` or, when they do not fit, none.

        An empty queue takes anything: otherwise a call larger than the bound could never be served.
        """
        cost = sum(work.cost for work in works)
        if len(self) and self._cost + cost > self._config.max_queue_cost:
            return False
        for work in works:
            self._lanes.setdefault(work.bucket, deque()).append(work)
        self._recount()
        return True

    def take(self, now: float, *, hurry: bool = False) -> Batch[T]:
        """The next batch: full, or its head has waited ``max_wait``, or ``hurry`` (nobody else is coming)."""
        expired = self._remove(lambda work: work.deadline is not None and work.deadline <= now)
        ready = [bucket for bucket in self._lanes if hurry or self._is_ready(bucket, now)]
        if not ready:
            return Batch(works=(), expired=expired)
        bucket = min(ready, key=lambda name: self._lanes[name][0].arrival)
        lane = self._lanes[bucket]
        works = tuple(lane.popleft() for _ in range(self._fitting(lane)))
        self._recount()
        return Batch(works=works, expired=expired)

    def wait(self, now: float) -> float | None:
        """Seconds until :meth:`take` may have something to say; None while the queue is empty."""
        if not self._lanes:
            return None
        if any(self._is_ready(bucket, now) for bucket in self._lanes):
            return 0.0
        oldest = min(lane[0].arrival for lane in self._lanes.values())
        moments = [oldest + self._config.max_wait]
        moments += [work.deadline for work in self._all() if work.deadline is not None]
        return max(0.0, min(moments) - now)

    def cancel(self, group: Hashable) -> tuple[Work[T], ...]:
        """Forget the works of one call; returns those that were still waiting."""
        return self._remove(lambda work: work.group == group)

    def observe(self, cost: float, seconds: float) -> None:
        """Learn from a finished batch how fast the device is."""
        if cost > 0 and seconds > 0:
            self._speed += SMOOTHING * (cost / seconds - self._speed)

    def retry_after(self) -> float:
        """Seconds after which half of the queue will have been worked off; 0.1 to 30."""
        return min(30.0, max(0.1, self._cost / 2 / self._speed))

    def _is_ready(self, bucket: str, now: float) -> bool:
        lane = self._lanes[bucket]
        # The same sum as in wait(): `now - arrival >= max_wait` could round the other way and spin.
        if now >= lane[0].arrival + self._config.max_wait:
            return True
        return sum(work.cost for work in lane) >= self._config.max_batch_cost

    def _fitting(self, lane: deque[Work[T]]) -> int:
        """How many from the head fit one batch: at least one, however dear it is."""
        total = 0.0

        def fits(work: Work[T]) -> bool:
            nonlocal total
            total += work.cost
            return total <= self._config.max_batch_cost

        return max(1, sum(1 for _ in takewhile(fits, lane)))

    def _remove(self, unwanted: Callable[[Work[T]], bool]) -> tuple[Work[T], ...]:
        removed = tuple(work for work in self._all() if unwanted(work))
        if removed:
            for bucket, lane in self._lanes.items():
                self._lanes[bucket] = deque(work for work in lane if not unwanted(work))
            self._recount()
        return removed

    def _all(self) -> Iterable[Work[T]]:
        return (work for lane in self._lanes.values() for work in lane)

    def _recount(self) -> None:
        # Summed afresh each time: adding and subtracting floats for days would drift.
        self._lanes = {bucket: lane for bucket, lane in self._lanes.items() if lane}
        self._cost = sum(work.cost for work in self._all())
