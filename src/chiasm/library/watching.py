"""A folder that is kept in step: looked at at the start, and again whenever it has changed and rested."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, watch

from chiasm.library.folder import SKIPPED_NAMES

logger = logging.getLogger(__name__)

QUIET_SECONDS = 1.0  # without a change, before what was written counts as whole
PATIENCE_SECONDS = 30.0  # of changes without a pause, after which what is there is taken
AGAIN_SECONDS = 10.0  # after which what failed, or a folder that was away, is tried again
_WAKE = 500  # milliseconds between looks at whether to stop


@dataclass(frozen=True, kw_only=True)
class Pace:
    """When to look.

    Attributes:
        quiet: seconds without a change before a look, so that no half-written file is read.
        again: seconds until what failed is tried again.
    """

    quiet: float = QUIET_SECONDS
    again: float = AGAIN_SECONDS


def keep_in_step(
    folder: Path,
    bring: Callable[[], bool],
    stopping: threading.Event,
    *,
    exclude: Iterable[Path] = (),
    pace: Pace = Pace(),
) -> None:
    """Call ``bring`` now and after each change in ``folder``, until ``stopping`` is set.

    What changes while ``bring`` is at work is noticed, and ``bring`` called again. A folder that is away (a
    disk that is not mounted) is waited for.

    Args:
        bring: brings the library in step with the folder; whether it could.
        exclude: folders whose changes do not count: the library's own.
    """
    root = folder.expanduser().absolute()
    counts = _Counts([path.absolute() for path in exclude])
    while not stopping.is_set():
        try:
            if root.is_dir():
                _follow(root.resolve(), bring, stopping, counts, pace)
        except OSError as error:  # too many folders to watch, or it went while it was being looked at
            logger.warning("%s cannot be watched: %s", root, error.strerror or error)
        stopping.wait(pace.again)


def _follow(
    root: Path, bring: Callable[[], bool], stopping: threading.Event, counts: "_Counts", pace: Pace
) -> None:
    """As long as the folder is there. The watcher begins before the first look: nothing falls between."""
    due: float | None = time.monotonic()
    for changes in watch(
        root,
        watch_filter=counts,
        step=round(pace.quiet * 1000),
        debounce=round(PATIENCE_SECONDS * 1000),
        stop_event=stopping,
        rust_timeout=_WAKE,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    ):
        if not root.is_dir():
            return
        if changes:
            due = time.monotonic()
        if due is not None and time.monotonic() >= due:
            due = None if bring() else time.monotonic() + pace.again


class _Counts:
    """Which changes count: the same names as in ``folder.scan``."""

    def __init__(self, exclude: Iterable[Path]) -> None:
        self._exclude = tuple(exclude)

    def __call__(self, _change: Change, path: str) -> bool:
        """Whether this one does."""
        changed = Path(path)
        if changed.name.startswith(".") or not SKIPPED_NAMES.isdisjoint(changed.parts):
            return False
        return not any(changed.is_relative_to(folder) for folder in self._exclude)
