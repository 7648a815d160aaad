"""The events of a job: its progress, and its end."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chiasm.api.events import Look, event
from chiasm.errors import DeadlineExceeded, NotFound, Overloaded
from chiasm.jobs import JobRecord
from chiasm.serving.specs import STATE_FILE, read_state

Show = Callable[[JobRecord], Mapping[str, Any]]


class JobFollower:
    """Tells of each change of a job once.

    An event's id names the state that it tells of, so that a reader who comes again misses nothing and hears
    nothing twice, in whichever process.

    Args:
        get: the job as it stands.
        show: as JSON.
        seen: id of the last event that the reader has; empty at the first time.
    """

    def __init__(self, get: Callable[[], JobRecord], show: Show, seen: str = "") -> None:
        self._get = get
        self._show = show
        self._seen = seen

    def look(self) -> Look:
        """``progress`` when something has changed, ``end`` at the end, ``gone`` when the job was deleted."""
        try:
            job = self._get()
        except NotFound:
            return Look(text=event("gone", {}, "gone"), ended=True)
        except (Overloaded, DeadlineExceeded):
            return Look(text=b"", ended=False)  # the library starts again; so does this
        identity = state_of(job)
        if identity == self._seen:
            return Look(text=b"", ended=job.finished)
        self._seen = identity
        name = "end" if job.finished else "progress"
        return Look(text=event(name, self._show(job), identity), ended=job.finished)


def while_serving(look: Callable[[], Look], folder: Path | None) -> Callable[[], Look]:
    """``look``, until the server whose processes meet in ``folder`` is told to stop.

    An open stream would hold the web processes up until they are killed, and those that end after them, too.
    """

    def look_or_leave() -> Look:
        state = None if folder is None else read_state(folder / STATE_FILE)
        return Look(text=b"", ended=True) if state is not None and state.draining else look()

    return look_or_leave


def state_of(job: JobRecord) -> str:
    """A name for how far the job is."""
    return f"{job.status}:{job.done}:{job.total}"
