"""Whether the one who asked is still there, told to whoever works for them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chiasm.errors import CallerLeft


class Departure:
    """Known from the moment when somebody calls :meth:`happen`. Thread-safe."""

    def __init__(self) -> None:
        self._happened = False
        self._meanings: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def happened(self) -> bool:
        """Whether nobody waits any more."""
        return self._happened

    def happen(self) -> None:
        """The one who asked has left: stop what is done for them. A second call does nothing."""
        with self._lock:
            self._happened = True
            meanings, self._meanings = self._meanings, []
        for stop in meanings:
            stop()

    def expect_presence(self) -> None:
        """Before work begins.

        Raises:
            CallerLeft: nobody waits for it.
        """
        if self._happened:
            raise CallerLeft("the client has left before this was done", "客户端已离开，此项未处理")

    @contextmanager
    def means(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have ``stop`` called at the departure, or at once if it was before; forgotten at the end."""
        with self._lock:
            happened = self._happened
            if not happened:
                self._meanings.append(stop)
        if happened:
            stop()
        try:
            yield
        finally:
            with self._lock:
                if stop in self._meanings:
                    self._meanings.remove(stop)
