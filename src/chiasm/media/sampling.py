"""Which frames stand for a clip."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


def evenly(available: int, wanted: int) -> list[int]:
    """Indices in the middle of ``wanted`` equal stretches of ``available``; of too few, some repeat."""
    return [(2 * i + 1) * available // (2 * wanted) for i in range(wanted)]


class Thinner(Generic[T]):
    """Keeps an even sample of a stream whose length nobody knows, in bounded memory.

    It keeps every frame until it has twice as many as wanted, then every second, every fourth, …

    Args:
        wanted: how many to return in the end.
        expected: how many there may be, if somebody claims to know; saves making what would be dropped.
    """

    def __init__(self, wanted: int, expected: float = 0) -> None:
        self._wanted = wanted
        self._kept: list[T] = []
        self._stride = max(1, int(expected / wanted))
        self.seen = 0

    def offer(self, make: Callable[[], T]) -> None:
        """The next of the stream; ``make`` is called only if it is kept."""
        if self.seen % self._stride == 0:
            self._kept.append(make())
            if len(self._kept) == 2 * self._wanted:
                del self._kept[1::2]
                self._stride *= 2
        self.seen += 1

    def sample(self) -> list[T]:
        """At most ``wanted`` of them, evenly spaced, in order."""
        return [self._kept[i] for i in evenly(len(self._kept), min(self._wanted, len(self._kept)))]
