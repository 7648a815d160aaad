"""Submitting and watching jobs, from any process."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from dbos import DBOSClient, WorkflowStatus

from chiasm.errors import NotFound
from chiasm.jobs.progress import Progress, ProgressBook
from chiasm.jobs.records import JobError, JobRecord, JobStatus
from chiasm.jobs.storage import QUEUE, VERSION, jobs_url, progress_url

PREFIX = "job_"
_QUEUED = {"ENQUEUED", "DELAYED"}
_GIVEN_UP = JobError(
    code="internal_error",
    en="the job was interrupted too often and was given up",
    zh="任务多次中断，已放弃",
)


class JobsClient:
    """Jobs of a data directory.

    Args:
        data_dir: one that a :class:`~chiasm.jobs.runner.JobRunner` has used or uses.
        database_url: of its PostgreSQL, if it has one.
        clock: seconds since the epoch.
    """

    def __init__(
        self, data_dir: Path, database_url: str = "", *, clock: Callable[[], float] = time.time
    ) -> None:
        self._dbos = DBOSClient(system_database_url=jobs_url(data_dir, database_url))
        self._book = ProgressBook(progress_url(data_dir, database_url))
        self._clock = clock

    def submit(
        self, name: str, params: Mapping[str, Any], *, key: str | None = None, queue: str = QUEUE
    ) -> JobRecord:
        """Queue the job ``name``.

        Args:
            params: JSON.
            queue: one of ``storage.QUEUES``; in each, one job runs at a time.
            key: while a job with this key is queued or running, that one is returned instead of a second.
        """
        options: dict[str, Any] = {
            "workflow_name": name,
            "queue_name": queue,
            "workflow_id": f"{PREFIX}{secrets.token_hex(12)}",
            "app_version": VERSION,
        }
        if key is not None:
            options |= {"deduplication_id": key, "duplication_policy": "return-existing"}
        handle = self._dbos.enqueue(options, json.dumps(dict(params)))
        return self.get(handle.workflow_id)

    def get(self, job_id: str) -> JobRecord:
        """The job as it stands.

        Raises:
            NotFound: there is no such job.
        """
        found = self._dbos.list_workflows(workflow_ids=[job_id])
        if not found:
            raise NotFound(f"there is no job {job_id!r}", f"没有任务 {job_id!r}", param="job_id")
        return self._record(found[0], self._book.get([job_id]).get(job_id, Progress()))

    def list_jobs(self, *, limit: int = 50, offset: int = 0) -> list[JobRecord]:
        """The latest jobs, newest first."""
        found = self._dbos.list_workflows(
            workflow_id_prefix=PREFIX, limit=limit, offset=offset, sort_desc=True
        )
        progress = self._book.get([status.workflow_id for status in found])
        return [self._record(status, progress.get(status.workflow_id, Progress())) for status in found]

    def cancel(self, job_id: str) -> JobRecord:
        """Ask a job to stop; it does at its next step. A finished one stays as it is."""
        job = self.get(job_id)
        if not job.finished:
            self._book.cancel(job_id)
            if job.status == "queued":
                self._dbos.cancel_workflow(job_id)  # a running one notices by itself
        return self.get(job_id)

    def delete(self, job_id: str) -> None:
        """Cancel a job that is not finished; forget one that is."""
        if self.cancel(job_id).finished:
            self._dbos.delete_workflow(job_id)
            self._book.forget(job_id)

    def wait(self, job_id: str, *, timeout: float = 60.0, interval: float = 0.1) -> JobRecord:
        """The job once it is finished, or as it stands after ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while not (record := self.get(job_id)).finished and time.monotonic() < end:
            time.sleep(interval)
        return record

    def close(self) -> None:
        """Close the files."""
        self._dbos.destroy()
        self._book.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _record(self, status: WorkflowStatus, progress: Progress) -> JobRecord:
        output = json.loads(status.output) if status.status == "SUCCESS" and status.output else {}
        error = JobError(**output["error"]) if "error" in output else None
        state = _state(status.status, output, progress)
        if state == "failed" and error is None:
            error = _GIVEN_UP
        completed = status.completed_at
        return JobRecord(
            id=status.workflow_id,
            name=status.name,
            status=state,
            params=json.loads(status.input["args"][0]) if status.input else {},
            done=progress.done,
            total=progress.total,
            eta=self._eta(state, progress),
            created_at=(status.created_at or 0) / 1000,
            finished_at=completed / 1000 if completed else None,
            result=output.get("result", {}),
            error=error,
        )

    def _eta(self, state: JobStatus, progress: Progress) -> float | None:
        if state != "running" or not progress.done or progress.started_at is None:
            return None
        pace = (self._clock() - progress.started_at) / progress.done
        return max(0.0, pace * (progress.total - progress.done))


def _state(status: str, output: Mapping[str, Any], progress: Progress) -> JobStatus:
    if status in _QUEUED:
        return "cancelled" if progress.cancelled else "queued"
    if status == "PENDING":
        return "running"
    if status == "CANCELLED" or "cancelled" in output:
        return "cancelled"
    return "completed" if status == "SUCCESS" and "error" not in output else "failed"
