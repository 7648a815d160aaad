"""The one process that runs jobs."""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from dbos import DBOS

from chiasm.errors import ChiasmError
from chiasm.jobs.progress import JobCancelled, JobContext, JobFunction, Params, ProgressBook
from chiasm.jobs.storage import EXECUTOR, QUEUES, VERSION, jobs_url, progress_url

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
OTHERS_AT_ONCE = 500  # jobs that one may look at to do their work, too
RESUMED_AT_MOST = 20  # a job that keeps killing its process is given up


class JobRunner:
    """Runs queued jobs, and at the start those that were interrupted.

    There can be one in a process, and one on a data directory.

    Args:
        functions: by name. A function may be run again from its beginning after a crash, and must then do
            only what is left. Parameters and results are JSON.
        database_url: of the PostgreSQL that keeps them; in the data directory without one.
    """

    def __init__(
        self,
        data_dir: Path,
        functions: Mapping[str, JobFunction],
        *,
        database_url: str = "",
    ) -> None:
        self._url = jobs_url(data_dir, database_url)
        self._functions = dict(functions)
        self._stopping = threading.Event()
        self._idle = threading.Condition()
        self._running = 0
        self._book = ProgressBook(progress_url(data_dir, database_url))

    def start(self) -> Self:
        """Begin, with what was left unfinished."""
        DBOS(
            config={
                "name": "chiasm",
                "system_database_url": self._url,
                "executor_id": EXECUTOR,
                "application_version": VERSION,
                "log_level": "WARNING",
            }
        )
        for name, function in self._functions.items():
            DBOS.workflow(name=name, max_recovery_attempts=RESUMED_AT_MOST)(self._workflow(name, function))
        DBOS.launch()
        for queue, concurrency in QUEUES.items():
            DBOS.register_queue(queue, concurrency=concurrency, polling_interval_sec=POLL_SECONDS)
        return self

    def stop(self, patience: float = 10.0) -> None:
        """Suspend the running jobs (they go on at the next start) and wait for them to notice."""
        self._stopping.set()
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0, patience)
        DBOS.destroy(destroy_registry=True)
        self._book.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _workflow(self, name: str, function: JobFunction) -> Callable[[str], str]:
        def run(params: str) -> str:
            job_id = DBOS.workflow_id or ""
            with self._idle:
                self._running += 1
            try:
                context = JobContext(
                    job_id, self._book, self._stopping.is_set, others=lambda: self._others(name, job_id)
                )
                context.check()
                return json.dumps({"result": dict(function(context, json.loads(params)))})
            except JobCancelled:
                return json.dumps({"cancelled": True})
            except ChiasmError as error:
                return json.dumps({"error": {"code": error.code, "en": error.en, "zh": error.zh}})
            except Exception:
                logger.exception("job %s (%s) failed", job_id, name)
                unexpected = {
                    "code": "internal_error",
                    "en": "an unexpected error; see the log",
                    "zh": "意外错误，请查看日志",
                }
                return json.dumps({"error": unexpected})
            finally:
                with self._idle:
                    self._running -= 1
                    self._idle.notify_all()

        run.__name__ = run.__qualname__ = name
        return run

    def _others(self, name: str, job_id: str) -> list[Params]:
        found = DBOS.list_workflows(
            name=name, status=["ENQUEUED", "PENDING"], load_output=False, limit=OTHERS_AT_ONCE
        )
        cancelled = {
            other
            for other, known in self._book.get([status.workflow_id for status in found]).items()
            if known.cancelled
        }
        return [
            json.loads(status.input["args"][0])
            for status in found
            if status.input and status.workflow_id not in {job_id, *cancelled}
        ]
