"""Where jobs are kept, and what all processes must agree on."""

import sqlite3
from contextlib import closing
from pathlib import Path

EXECUTOR = "library"  # fixed, so that a restarted process finds the jobs of the one before
VERSION = "1"  # of the job functions' meaning; DBOS resumes only jobs of its own version
QUEUE = "jobs"
SLOW_QUEUE = "batches"  # work that must not keep that of the other queue waiting
QUEUES = (QUEUE, SLOW_QUEUE)


def database_url(data_dir: Path) -> str:
    """DBOS's own SQLite file."""
    return f"sqlite:///{_database(data_dir)}"


def _database(data_dir: Path) -> Path:
    return data_dir.resolve() / "jobs.sqlite"


def has_jobs(data_dir: Path) -> bool:
    """Whether a server has ever run on this data directory, so that there can be jobs. Changes nothing."""
    path = _database(data_dir)
    if not path.is_file():
        return False
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'workflow_status'")
        return tables.fetchone() is not None


def progress_path(data_dir: Path) -> Path:
    """The file of :class:`~chiasm.jobs.progress.ProgressBook`."""
    return data_dir / "progress.sqlite"
