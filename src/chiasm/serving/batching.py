"""What is computed next: pure policy over (caller, cost, arrival, deadline, now). No threads, no clock.

Work waits in lanes, one for each bucket (pieces that can share a batch). Callers share the device by cost,
with start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each piece gets a tag when it comes,
where its caller's own work so far ends or where the queue is now, whichever is later. Lower tags go first,
so that whoever floods the queue waits behind their own work and nobody else does; one caller's pieces keep
their order, and so do all while there is one caller.
"""

from bisect import insort
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Generic, TypeVar

T = TypeVar("T")

SMOOTHING = 0.3  # weight of the newest batch in the measured speed
FIRST_GUESS = 50.0  # cost per second before anything was measured


@dataclass(frozen=True, kw_only=True)
class BatchingConfig:
    """Bounds. Cost is in units of one picture through the image tower; ``max_wait`` in seconds.

    ``caller_share``: part of ``max_queue_cost`` that one named caller may fill.
    """

    max_queue_cost: float = 512.0
    max_batch_cost: float = 32.0
    max_wait: float = 0.002
    caller_share: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Work(Generic[T]):
    """One piece of work.

    Attributes:
        group: the call that it belongs to.
        bucket: what it can share a batch with.
        caller: who gets a fair share; the nameless together are one.
    """

    group: Hashable
    bucket: str
    cost: float
    arrival: float
    deadline: float | None
    payload: T
    caller: str = ""


@dataclass(frozen=True, kw_only=True)
class Batch(Generic[T]):
    """What to compute now (of one bucket, may be empty), and what is too late to compute."""

    works: tuple[Work[T], ...]
    expired: tuple[Work[T], ...]

    @property
    def cost(self) -> float:
        """Sum of the works' costs."""
        return sum(work.cost for work in self.works)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiting(Generic[T]):
    """A piece in its lane: ``start`` is its tag, in units of cost; ``number`` the order of coming."""

    start: float
    number: int
    work: Work[T]

    @property
    def end(self) -> float:
        """Where its caller's next piece may start."""
        return self.start + self.work.cost

    def order(self) -> tuple[float, int]:
        """Lower goes first."""
        return self.start, self.number


class BatchQueue(Generic[T]):
    """A queue bounded by cost. Not thread-safe: the owner holds a lock."""

    def __init__(self, config: BatchingConfig) -> None:
        self._config = config
        self._lanes: dict[str, list[_Waiting[T]]] = {}
        self._costs: dict[str, float] = {}  # by caller
        self._ends: dict[str, float] = {}  # by caller: where its next piece may start
        self._now = 0.0  # the tag of what was taken last
        self._numbers = count()
        self._speed = FIRST_GUESS

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def cost(self) -> float:
        """Cost of all that waits."""
        return sum(self._costs.values())

    def overfills(self, caller: str, cost: float) -> bool:
        """Whether a named caller, who has work here already, would hold more than its share of the queue."""
        held = self._costs.get(caller, 0.0)
        return bool(caller and held) and held + cost > self._config.caller_share * self._config.max_queue_cost

    def admit(self, works: Sequence[Work[T]]) -> bool:
        """Take all of ``works`` or, when they do not fit, none.

        An empty queue takes anything: otherwise a call larger than the bound could never be served.
        """
        cost = sum(work.cost for work in works)
        if len(self) and self.cost + cost > self._config.max_queue_cost:
            return False
        for work in works:
            start = max(self._now, self._ends.get(work.caller, 0.0))
            waiting = _Waiting(start=start, number=next(self._numbers), work=work)
            self._ends[work.caller] = waiting.end
            insort(self._lanes.setdefault(work.bucket, []), waiting, key=_Waiting.order)
        self._recount()
        return True

    def has(self, condition: Callable[[T], bool]) -> bool:
        """Whether anything that waits is so."""
        return any(condition(work.payload) for work in self._all())

    def take(self, now: float, *, hurry: bool = False) -> Batch[T]:
        """The next batch: full, or some of it has waited ``max_wait``, or ``hurry`` (nobody else comes)."""
        expired = self._remove(lambda work: work.deadline is not None and work.deadline <= now)
        ready = [bucket for bucket in self._lanes if hurry or self._is_ready(bucket, now)]
        if not ready:
            return Batch(works=(), expired=expired)
        bucket = min(ready, key=lambda name: self._lanes[name][0].order())
        lane = self._lanes[bucket]
        self._now = max(self._now, lane[0].start)
        fitting = self._fitting(lane)
        works = tuple(waiting.work for waiting in lane[:fitting])
        del lane[:fitting]
        self._recount()
        return Batch(works=works, expired=expired)

    def wait(self, now: float) -> float | None:
        """Seconds until :meth:`take` may have something to say; None while the queue is empty."""
        if not self._lanes:
            return None
        if any(self._is_ready(bucket, now) for bucket in self._lanes):
            return 0.0
        moments = [min(work.arrival for work in self._all()) + self._config.max_wait]
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
        return min(30.0, max(0.1, self.cost / 2 / self._speed))

    def _is_ready(self, bucket: str, now: float) -> bool:
        works = [waiting.work for waiting in self._lanes[bucket]]
        # The same sum as in wait(): `now - arrival >= max_wait` could round the other way and spin.
        if now >= min(work.arrival for work in works) + self._config.max_wait:
            return True
        return sum(work.cost for work in works) >= self._config.max_batch_cost

    def _fitting(self, lane: Sequence[_Waiting[T]]) -> int:
        """How many from the head fit one batch: at least one, however dear it is."""
        total = 0.0

        def fits(waiting: _Waiting[T]) -> bool:
            nonlocal total
            total += waiting.work.cost
            return total <= self._config.max_batch_cost

        return max(1, sum(1 for _ in takewhile(fits, lane)))

    def _remove(self, unwanted: Callable[[Work[T]], bool]) -> tuple[Work[T], ...]:
        removed = tuple(work for work in self._all() if unwanted(work))
        if removed:
            for bucket, lane in self._lanes.items():
                self._lanes[bucket] = [waiting for waiting in lane if not unwanted(waiting.work)]
            for work in removed:  # nobody pays for what was not computed
                self._ends[work.caller] = self._ends.get(work.caller, 0.0) - work.cost
            for waiting in self._waiting():
                caller = waiting.work.caller
                self._ends[caller] = max(self._ends.get(caller, 0.0), waiting.end)
            self._recount()
        return removed

    def _waiting(self) -> Iterable[_Waiting[T]]:
        return (waiting for lane in self._lanes.values() for waiting in lane)

    def _all(self) -> Iterable[Work[T]]:
        return (waiting.work for waiting in self._waiting())

    def _recount(self) -> None:
        # Summed afresh each time: adding and subtracting floats for days would drift.
        self._lanes = {bucket: lane for bucket, lane in self._lanes.items() if lane}
        self._costs = {}
        for work in self._all():
            self._costs[work.caller] = self._costs.get(work.caller, 0.0) + work.cost
        if not self._lanes:  # nobody is ahead of anybody any more
            self._now, self._ends = 0.0, {}
        else:
            self._ends = {caller: end for caller, end in self._ends.items() if end > self._now}
