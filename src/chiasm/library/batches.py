"""Batches: a file of requests, answered line by line as a job that can be stopped and resumed at any line."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from chiasm.errors import InvalidInput
from chiasm.jobs import JobCancelled, JobContext, JobFunction
from chiasm.library.catalogue import Catalogue

BATCH = "batch"
OUTPUT_PURPOSE = "batch_output"
FOLDER = "batches"
AT_ONCE = 32  # lines between two points at which the job may stop
THREADS = 8  # that keep the engine's batches full
MAX_LINES = 50_000

Answer = Callable[[bytes, str], tuple[bool, bytes]]
"""(line, endpoint) → whether it succeeded, and the line of the output or the errors."""


def batch_job(library: Catalogue, folder: Path, answerer: Callable[[str], Answer]) -> JobFunction:
    """The job that answers ``{"input_file_id", "endpoint", "key"}``; its result names files, counts lines.

    Args:
        folder: of results that are being written.
        answerer: makes what answers those who have this key; called when there is a batch.
    """

    def run(context: JobContext, params: Mapping[str, Any]) -> Mapping[str, Any]:
        source, endpoint = library.path_of(params["input_file_id"]), params["endpoint"]
        total = sum(1 for _ in lines(source))
        if not 1 <= total <= MAX_LINES:
            raise InvalidInput(
                f"expected a file of 1 to {MAX_LINES} lines, got {total}",
                f"文件应有 1 至 {MAX_LINES} 行，实际为 {total} 行",
                param="input_file_id",
            )
        work = Work.of(folder, context.job_id)
        done = sum(work.resume())
        answer = answerer(params.get("key", ""))
        try:
            with ThreadPoolExecutor(THREADS) as threads:
                left = islice(lines(source), done, None)
                while group := list(islice(left, AT_ONCE)):
                    context.progress(done, total)
                    work.append(list(threads.map(lambda line: answer(line, endpoint), group)))
                    done += len(group)
        except JobCancelled:
            _finish(library, work)
            raise
        context.progress(done, total)
        return _finish(library, work)

    return run


def lines(path: Path) -> Iterator[bytes]:
    """The lines that are not blank."""
    with path.open("rb") as file:
        for line in file:
            if stripped := line.strip():
                yield stripped


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a batch has answered so far, on disk: one file of successes, one of failures.

    A line counts when it is there whole; one that was half written in a crash is cut off and answered again.
    """

    output: Path
    errors: Path

    @classmethod
    def of(cls, folder: Path, job_id: str) -> "Work":
        """The files of a job."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(output=folder / f"{job_id}_output.jsonl", errors=folder / f"{job_id}_errors.jsonl")

    def resume(self) -> tuple[int, int]:
        """How many lines succeeded and failed before."""
        return _whole_lines(self.output), _whole_lines(self.errors)

    def append(self, answered: list[tuple[bool, bytes]]) -> None:
        """Keep more results, for good."""
        with ExitStack() as opened:
            files = {
                good: opened.enter_context(path.open("ab"))
                for good, path in ((True, self.output), (False, self.errors))
            }
            for good, line in answered:
                files[good].write(line + b"\n")
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())


def _whole_lines(path: Path) -> int:
    if not path.exists():
        return 0
    count = whole = 0
    with path.open("r+b") as file:
        for line in file:
            if line.endswith(b"\n"):
                count += 1
                whole += len(line)
        file.truncate(whole)
    return count


def _finish(library: Catalogue, work: Work) -> dict[str, Any]:
    """Put the results among the files; a run that was interrupted here finds those it put there before."""
    completed, failed = work.resume()
    known = {
        record.name: record.id for record in library.uploaded_files(purpose=OUTPUT_PURPOSE, limit=100).data
    }
    ids: dict[Path, str | None] = {}
    for path, count in ((work.output, completed), (work.errors, failed)):
        if not count:
            ids[path] = None
        elif path.name in known:
            ids[path] = known[path.name]
        else:
            kept = library.upload_file(path, path.name, purpose=OUTPUT_PURPOSE, mime="text/plain")
            ids[path] = kept.id
    for path in ids:
        path.unlink(missing_ok=True)
    return {
        "output_file_id": ids[work.output],
        "error_file_id": ids[work.errors],
        "completed": completed,
        "failed": failed,
    }
