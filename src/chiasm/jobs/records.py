"""What is known of a job."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

JobStatus = Literal["queued", "running", "completed", "failed", "cancelled"]
STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)
FINISHED = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class JobError:
    """Why a job failed."""

    code: str
    en: str
    zh: str


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job, as it stands.

    Attributes:
        done, total: units of work (files, for the library's jobs); both 0 until it has begun.
        eta: seconds until the end at the present pace, if that can be told.
        created_at, finished_at: seconds since the epoch.
        result: of a completed job.
    """

    id: str
    name: str
    status: JobStatus
    params: Mapping[str, Any]
    done: int = 0
    total: int = 0
    eta: float | None = None
    created_at: float = 0.0
    finished_at: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    error: JobError | None = None

    @property
    def finished(self) -> bool:
        """Whether it will not change any more."""
        return self.status in FINISHED
