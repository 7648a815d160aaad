"""A file of requests, answered as a job."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chiasm.errors import InvalidInput
from chiasm.jobs import JobCancelled
from chiasm.library import Library
from chiasm.library.batches import AT_ONCE, batch_job


class Context:
    """A job's context that stops at its n-th step."""

    job_id = "job_1"

    def __init__(self, stop_at: int = 10**9, error: type[Exception] = KeyboardInterrupt) -> None:
        self.steps: list[tuple[int, int]] = []
        self.stop_at = stop_at
        self.error = error

    def progress(self, done: int, total: int) -> None:
        self.steps.append((done, total))
        if len(self.steps) == self.stop_at:
            raise self.error


@pytest.fixture
def asked() -> list[bytes]:
    return []


@pytest.fixture
def run(library: Library, tmp_path: Path, asked: list[bytes]) -> Callable:
    def answer(line: bytes, endpoint: str) -> tuple[bool, bytes]:
        asked.append(line)
        return b"bad" not in line, json.dumps([line.decode(), endpoint]).encode()

    job = batch_job(library, tmp_path / "batches", lambda _key: answer)

    def start(content: bytes, context: Context | None = None) -> dict:
        known = list(library.uploaded_files(purpose="batch").data)
        kept = known[0] if known else library.upload_file(content, "in.jsonl", purpose="batch")
        return dict(job(context or Context(), {"input_file_id": kept.id, "endpoint": "/v1/x"}))

    return start


def read(library: Library, file_id: str) -> list[str]:
    return [json.loads(line)[0] for line in library.path_of(file_id).read_bytes().splitlines()]


def test_every_line_is_answered_in_its_place(library, run, tmp_path):
    body = b"".join(b"bad %d\n" % n if n % 10 == 3 else b"line %d\n\n" % n for n in range(100))
    result = run(body)
    assert (result["completed"], result["failed"]) == (90, 10)
    assert read(library, result["output_file_id"]) == [f"line {n}" for n in range(100) if n % 10 != 3]
    assert read(library, result["error_file_id"]) == [f"bad {n}" for n in range(100) if n % 10 == 3]
    assert list((tmp_path / "batches").iterdir()) == []


def test_after_a_crash_only_what_is_left_is_answered(library, run, asked, tmp_path):
    body = b"".join(b"line %d\n" % n for n in range(100))
    with pytest.raises(KeyboardInterrupt):
        run(body, Context(stop_at=3))
    assert len(asked) == 2 * AT_ONCE
    with (tmp_path / "batches" / "job_1_output.jsonl").open("ab") as file:
        file.write(b'["half')
    asked.clear()
    result = run(body)
    assert sorted(asked) == sorted(b"line %d" % n for n in range(2 * AT_ONCE, 100))
    assert read(library, result["output_file_id"]) == [f"line {n}" for n in range(100)]


def test_a_crash_at_the_very_end_leaves_no_second_copy(library, run, asked, tmp_path, monkeypatch):
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda *_a, **_k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(b"one\n")
    monkeypatch.setattr(Path, "unlink", unlink)
    result = run(b"one\n")
    assert asked == [b"one"]
    kept = [record.id for record in library.uploaded_files(purpose="batch_output").data]
    assert kept == [result["output_file_id"]]


def test_what_was_answered_before_a_cancellation_is_kept(library, run):
    body = b"".join(b"line %d\n" % n for n in range(100))
    with pytest.raises(JobCancelled):
        run(body, Context(stop_at=2, error=JobCancelled))
    [kept] = library.uploaded_files(purpose="batch_output").data
    assert read(library, kept.id) == [f"line {n}" for n in range(AT_ONCE)]


def test_an_empty_file_is_refused(run):
    with pytest.raises(InvalidInput) as caught:
        run(b"\n\n")
    assert caught.value.param == "input_file_id"
