"""One runner process for most tests; those that kill it start their own."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chiasm.errors import NotFound
from chiasm.jobs.client import JobsClient
from chiasm.jobs.progress import JobCancelled, JobContext, JobSuspended, ProgressBook
from chiasm.jobs.storage import SMALL_QUEUE, progress_url

PROGRAM = Path(__file__).with_name("jobs_runner_process.py")


def start(folder: Path, database_url: str = "") -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), database_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def stop(process: subprocess.Popen) -> int:
    process.communicate("stop\n", timeout=20)
    return process.returncode


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.05)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsClient]:
    folder = tmp_path_factory.mktemp("jobs")
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgresql").new_database()
    process = start(folder, url)
    with JobsClient(folder, url) as jobs:
        yield jobs
    assert stop(process) == 0


def test_a_job_is_named_run_and_done(client: JobsClient) -> None:
    job = client.submit("count", {"n": 3, "seconds": 0})
    assert job.status in {"queued", "running"}
    job = client.wait(job.id)
    assert (job.status, job.done, job.total) == ("completed", 3, 3)
    assert job.result == {"steps": 3}
    assert job.params == {"n": 3, "seconds": 0}
    assert job.finished_at is not None


def test_a_job_knows_its_like_that_wait_unless_they_are_cancelled(client: JobsClient) -> None:
    blocker = client.submit("count", {"n": 10_000, "seconds": 0.02})
    until(lambda: client.get(blocker.id).status == "running")
    waiting = [client.submit("look", {"n": n, "expected": 0}) for n in range(3)]
    client.cancel(waiting[1].id)
    seer = client.submit("look", {"n": 9, "expected": 2}, queue=SMALL_QUEUE)
    assert client.wait(seer.id).result == {"others": [0, 2]}
    client.cancel(blocker.id)
    assert [client.wait(job.id).status for job in waiting] == ["completed", "cancelled", "completed"]


def test_small_jobs_begin_side_by_side(client: JobsClient) -> None:
    jobs = [client.submit("count", {"n": 10_000, "seconds": 0.02}, queue=SMALL_QUEUE) for _ in range(3)]
    until(lambda: {client.get(job.id).status for job in jobs} == {"running"})
    for job in jobs:
        client.cancel(job.id)
    assert {client.wait(job.id).status for job in jobs} == {"cancelled"}


def test_an_error_of_ours_is_told_in_both_languages(client: JobsClient) -> None:
    job = client.wait(client.submit("fail", {}).id)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.code, job.error.zh) == ("invalid_value", "运气不佳")


def test_an_unexpected_error_is_told_without_its_details(client: JobsClient) -> None:
    job = client.wait(client.submit("crash", {}).id)
    assert job.status == "failed"
    assert job.error is not None
    assert "secret" not in job.error.en


def test_running_jobs_stop_when_they_are_cancelled_and_queued_ones_never_start(client: JobsClient) -> None:
    running = client.submit("count", {"n": 10_000, "seconds": 0.02})
    waiting = client.submit("count", {"n": 10_000, "seconds": 0})
    until(lambda: client.get(running.id).status == "running")
    assert client.get(waiting.id).status == "queued"
    assert client.cancel(waiting.id).status == "cancelled"
    client.cancel(running.id)
    assert client.wait(running.id).status == "cancelled"
    assert client.get(waiting.id).status == "cancelled"


def test_a_second_job_of_the_same_key_is_the_first(client: JobsClient) -> None:
    first = client.submit("count", {"n": 10_000, "seconds": 0.02}, key="k")
    assert client.submit("count", {"n": 10_000, "seconds": 0.02}, key="k").id == first.id
    client.cancel(first.id)
    client.wait(first.id)
    second = client.submit("count", {"n": 1, "seconds": 0}, key="k")
    assert second.id != first.id
    client.wait(second.id)


def test_jobs_are_listed_newest_first_and_forgotten_when_deleted(client: JobsClient) -> None:
    older = client.wait(client.submit("fail", {}).id)
    newer = client.wait(client.submit("fail", {}).id)
    listed = [job.id for job in client.list_jobs()]
    assert listed.index(newer.id) < listed.index(older.id)
    client.delete(older.id)
    with pytest.raises(NotFound):
        client.get(older.id)


def test_a_job_survives_a_stop_and_a_kill_and_does_nothing_twice(
    tmp_path: Path, database: Path | str
) -> None:
    steps = tmp_path / "steps"
    url = "" if isinstance(database, Path) else database

    def count() -> int:
        return len(steps.read_text().split()) if steps.exists() else 0

    process = start(tmp_path, url)
    with JobsClient(tmp_path, url) as jobs:
        job = jobs.submit("count", {"n": 60, "seconds": 0.04})
        until(lambda: count() >= 2)
        assert stop(process) == 0
        assert jobs.get(job.id).status == "running"
        after_stop = count()
        assert after_stop < 60
        process = start(tmp_path, url)
        until(lambda: count() >= after_stop + 2)
        process.kill()
        process.communicate()
        assert jobs.get(job.id).status == "running"
        assert count() < 60
        process = start(tmp_path, url)
        assert jobs.wait(job.id).status == "completed"
    assert stop(process) == 0
    assert steps.read_text().split() == [str(i) for i in range(60)]


def test_a_context_reports_seldom_but_always_the_end(tmp_path: Path) -> None:
    book = ProgressBook(progress_url(tmp_path))
    now = [100.0]
    context = JobContext("j", book, lambda: False, clock=lambda: now[0])
    context.progress(1, 5)
    context.progress(2, 5)
    assert book.get(["j"])["j"].done == 1
    now[0] += 1
    context.progress(3, 5)
    assert book.get(["j"])["j"].done == 3
    context.progress(5, 5)
    assert book.get(["j"])["j"].done == 5
    book.cancel("j")
    with pytest.raises(JobCancelled):
        context.progress(5, 5)
    with pytest.raises(JobSuspended):
        JobContext("k", book, lambda: True).check()
    book.close()
