"""A lock that many may hold together, or one alone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_SECONDS = 0.2


class SharedLock:
    """Who wants to be alone waits until nobody holds it, and turns nobody away meanwhile."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._alone = False

    @contextmanager
    def shared(self, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold it together with others.

        Args:
            check: called several times a second while this waits; may raise to stop.
        """
        with self._changed:
            while self._alone:
                self._changed.wait(LOOK_SECONDS)
                check()
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold it alone; ``check`` as in :meth:`shared`."""
        with self._changed:
            while self._alone or self._sharing:
                self._changed.wait(LOOK_SECONDS)
                check()
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
