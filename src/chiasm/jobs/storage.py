"""Where jobs are kept, and what all processes must agree on."""

from pathlib import Path

EXECUTOR = "library"  # fixed, so that a restarted process finds the jobs of the one before
VERSION = "1"  # of the job functions' meaning; DBOS resumes only jobs of its own version
QUEUE = "jobs"


def database_url(data_dir: Path) -> str:
    """DBOS's own SQLite file."""
    return f"sqlite:///{data_dir.resolve() / 'jobs.sqlite'}"


def progress_path(data_dir: Path) -> Path:
    """The file of :class:`~chiasm.jobs.progress.ProgressBook`."""
    return data_dir / "progress.sqlite"
