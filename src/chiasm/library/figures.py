"""How large the library is and what its jobs are up to, for whoever watches the server."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from chiasm.jobs.client import JobsClient
from chiasm.library.library import Library
from chiasm.stores.census import Held

T = TypeVar("T")
logger = logging.getLogger(__name__)

KEEP_SECONDS = 10.0  # counting a large library takes longer than being asked may
MOST_STORES = 200  # by name; the others are one: every store is a time series of its own
OTHER = "other"
LATEST_JOBS = 1000


@dataclass(frozen=True, kw_only=True)
class LibraryFigures:
    """What there is.

    Attributes:
        items: entries by store and modality; beyond :data:`MOST_STORES` stores the smaller ones are one,
            :data:`OTHER`.
        jobs: how many of the latest :data:`LATEST_JOBS` jobs are in which state.
    """

    items: list[Held]
    jobs: dict[str, int]


class Remembered(Generic[T]):
    """What ``count`` said at most some time ago. Thread-safe; after the first time nobody waits for it.

    Args:
        count: slow.
        seconds: how old an answer may be before it is counted anew, in a thread of its own.
        clock: seconds, monotonic.
    """

    def __init__(
        self, count: Callable[[], T], seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[T, float] | None = None
        self._counting = False

    def get(self) -> T:
        """The latest answer."""
        with self._lock:
            if self._known is None:
                self._known = (self._count(), self._clock())
            value, since = self._known
            if self._clock() - since < self._seconds or self._counting:
                return value
            self._counting = True
        threading.Thread(target=self._renew, name="figures", daemon=True).start()
        return value

    def _renew(self) -> None:
        try:
            fresh = (self._count(), self._clock())
            with self._lock:
                self._known = fresh
        except Exception:  # the old answer stands, and the next one who asks tries again
            logger.exception("the library could not be counted")
        finally:
            with self._lock:
                self._counting = False


def figures_of(library: Library, jobs: JobsClient) -> Callable[[], LibraryFigures]:
    """Something to ask as often as one likes."""
    return Remembered(
        lambda: LibraryFigures(
            items=fewer_stores(library.census()),
            jobs=dict(Counter(job.status for job in jobs.list_jobs(limit=LATEST_JOBS))),
        ),
        KEEP_SECONDS,
    ).get


def fewer_stores(held: Iterable[Held], most: int = MOST_STORES) -> list[Held]:
    """The same with at most ``most`` stores, the largest ones, and :data:`OTHER`."""
    sizes: Counter[str] = Counter()
    for one in held:
        sizes[one.store_id] += one.entries
    named = {store for store, _ in sizes.most_common(most)}
    summed: Counter[tuple[str, str]] = Counter()
    for one in held:
        summed[one.store_id if one.store_id in named else OTHER, one.modality] += one.entries
    return [Held(store, modality, count) for (store, modality), count in sorted(summed.items())]
