"""How far jobs are, and which of them should stop: a small table beside DBOS's own.

DBOS keeps every event of a workflow for ever, and replays them; progress is neither worth keeping nor the
same when a job is resumed.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

REPORT_SECONDS = 0.2
Params = Mapping[str, Any]


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


_tables = sa.MetaData()
_progress = sa.Table(
    "progress",
    _tables,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("done", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("total", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("started_at", sa.Double),
    sa.Column("cancelled", sa.Integer, nullable=False, server_default="0"),
)


class ProgressBook:
    """The table; may be open in several processes.

    Args:
        url: of its database, SQLite or PostgreSQL; the table is made if missing.
    """

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, **_options(url))
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _configure)
        # Two processes may open it at the same time.
        statement = CreateTable(_progress, if_not_exists=True)
        with self._engine.begin() as connection:
            connection.execute(statement)

    def report(self, job_id: str, done: int, total: int, started_at: float) -> None:
        """Write down how far a job is."""
        self._write({"job": job_id, "done": done, "total": total, "started_at": started_at})

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop."""
        self._write({"job": job_id, "cancelled": 1})

    def forget(self, job_id: str) -> None:
        """Delete a job's row."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_progress).where(_progress.c.job == job_id))

    def get(self, job_ids: Iterable[str]) -> dict[str, Progress]:
        """What is written of these jobs."""
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(_progress).where(_progress.c.job.in_(list(job_ids)))).all()
        return {
            row.job: Progress(
                done=row.done, total=row.total, started_at=row.started_at, cancelled=bool(row.cancelled)
            )
            for row in found
        }

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _write(self, values: Mapping[str, object]) -> None:
        of_engine = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        insert = of_engine(_progress).values(values)
        changed = {name: insert.excluded[name] for name in values if name != "job"}
        with self._engine.begin() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["job"], set_=changed))


def _options(url: str) -> dict[str, Any]:
    if sa.make_url(url).get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": 10.0, "check_same_thread": False}}
    return {"pool_pre_ping": True, "pool_size": 2}


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


class JobContext:
    """What a running job is given.

    Args:
        suspended: whether the process is shutting down.
        others: see :meth:`others`.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        job_id: str,
        book: ProgressBook,
        suspended: Callable[[], bool],
        *,
        others: Callable[[], list[Params]] = list,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.job_id = job_id
        self._book = book
        self._suspended = suspended
        self._others = others
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

    def others(self) -> list[Params]:
        """The parameters of some of the jobs of the same name that wait or run; not of cancelled ones."""
        return self._others()

    def check(self) -> None:
        """Raises as :meth:`progress` does, without reporting."""
        if self._suspended():
            raise JobSuspended
        known = self._book.get([self.job_id]).get(self.job_id)
        if known is not None and known.cancelled:
            raise JobCancelled


JobFunction = Callable[[JobContext, Params], Mapping[str, Any]]
"""What a job does: (context, parameters) → result, both of them JSON."""
