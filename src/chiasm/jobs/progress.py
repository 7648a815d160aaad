"""How far jobs are, and which of them should stop: a small table beside DBOS's own.

DBOS keeps every event of a workflow for ever, and replays them; progress is neither worth keeping nor the
same when a job is resumed.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPORT_SECONDS = 0.2


class JobCancelled(Exception):
    """Raised by :meth:`JobContext.progress` in a job that somebody cancelled."""


class JobSuspended(BaseException):
    """Raised by :meth:`JobContext.progress` when the process ends: the job goes on at the next start.

    Not an ``Exception``: DBOS records those as the job's outcome.
    """


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A job's row."""

    done: int = 0
    total: int = 0
    started_at: float | None = None
    cancelled: bool = False


class ProgressBook:
    """The table; may be open in several processes.

    Args:
        path: its SQLite file; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
        with self._lock, closing(self._db.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS progress (job TEXT PRIMARY KEY, done INTEGER NOT NULL DEFAULT 0, "
                "total INTEGER NOT NULL DEFAULT 0, started_at REAL, cancelled INTEGER NOT NULL DEFAULT 0)"
            )

    def report(self, job_id: str, done: int, total: int, started_at: float) -> None:
        """Write down how far a job is."""
        self._write(
            "INSERT INTO progress (job, done, total, started_at) VALUES (?, ?, ?, ?) ON CONFLICT (job) "
            "DO UPDATE SET done = excluded.done, total = excluded.total, started_at = excluded.started_at",
            (job_id, done, total, started_at),
        )

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop."""
        self._write(
            "INSERT INTO progress (job, cancelled) VALUES (?, 1) "
            "ON CONFLICT (job) DO UPDATE SET cancelled = 1",
            (job_id,),
        )

    def forget(self, job_id: str) -> None:
        """Delete a job's row."""
        self._write("DELETE FROM progress WHERE job = ?", (job_id,))

    def get(self, job_ids: Iterable[str]) -> dict[str, Progress]:
        """What is written of these jobs."""
        found: dict[str, Progress] = {}
        for job_id in job_ids:
            with self._lock, closing(self._db.cursor()) as cursor:
                row = cursor.execute(
                    "SELECT done, total, started_at, cancelled FROM progress WHERE job = ?", (job_id,)
                ).fetchone()
            if row is not None:
                found[job_id] = Progress(done=row[0], total=row[1], started_at=row[2], cancelled=bool(row[3]))
        return found

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        with self._lock, closing(self._db.cursor()) as cursor:
            cursor.execute(statement, values)


class JobContext:
    """What a running job is given.

    Args:
        suspended: whether the process is shutting down.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        job_id: str,
        book: ProgressBook,
        suspended: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.job_id = job_id
        self._book = book
        self._suspended = suspended
        self._clock = clock
        self._started_at = clock()
        self._reported_at = 0.0

    def progress(self, done: int, total: int) -> None:
        """Report how far the job is; call it often, at points where stopping does no harm.

        Raises:
            JobCancelled: the job is to end.
            JobSuspended: the process is.
        """
        self.check()
        now = self._clock()
        if now - self._reported_at >= REPORT_SECONDS or done >= total:
            self._book.report(self.job_id, done, total, self._started_at)
            self._reported_at = now

    def check(self) -> None:
        """Raises as :meth:`progress` does, without reporting."""
        if self._suspended():
            raise JobSuspended
        known = self._book.get([self.job_id]).get(self.job_id)
        if known is not None and known.cancelled:
            raise JobCancelled


JobFunction = Callable[[JobContext, Mapping[str, Any]], Mapping[str, Any]]
"""What a job does: (context, parameters) → result, both of them JSON."""
