"""Where jobs are kept, and what all processes must agree on."""

from pathlib import Path

import sqlalchemy as sa

EXECUTOR = "library"  # fixed, so that a restarted process finds the jobs of the one before
VERSION = "1"  # of the job functions' meaning; DBOS resumes only jobs of its own version
QUEUE = "jobs"
SLOW_QUEUE = "batches"  # work that must not keep that of the other queues waiting
SMALL_QUEUE = "uploads"  # many small jobs that take turns, and do each other's work on the way
QUEUES = {QUEUE: 1, SLOW_QUEUE: 1, SMALL_QUEUE: 16}  # how many jobs of each are begun at the same time
SCHEMA = "dbos"  # of DBOS's tables in PostgreSQL, beside our own


def jobs_url(data_dir: Path, database_url: str = "") -> str:
    """DBOS's own SQLite file; or the library's PostgreSQL, where its tables have a schema of their own."""
    return _postgresql(database_url) or f"sqlite:///{data_dir.resolve() / 'jobs.sqlite'}"


def progress_url(data_dir: Path, database_url: str = "") -> str:
    """The database of :class:`~chiasm.jobs.progress.ProgressBook`."""
    return _postgresql(database_url) or f"sqlite:///{data_dir.resolve() / 'progress.sqlite'}"


def has_jobs(data_dir: Path, database_url: str = "") -> bool:
    """Whether a server has ever run on this data directory, so that there can be jobs. Changes nothing."""
    url = sa.make_url(jobs_url(data_dir, database_url))
    if url.get_backend_name() == "sqlite":
        if not Path(url.database or "").is_file():
            return False
        url = url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})
    engine = sa.create_engine(url)
    try:
        schema = SCHEMA if engine.dialect.name == "postgresql" else None
        return sa.inspect(engine).has_table("workflow_status", schema=schema)
    finally:
        engine.dispose()


def _postgresql(url: str) -> str:
    if not url:
        return ""
    return sa.make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
