"""Events of jobs: what is told, and how the gateway goes on with it."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from chiasm.api import streams
from chiasm.api.events import HEARTBEAT, Follower, Look
from chiasm.api.following import JobFollower
from chiasm.api.gateway import Answer
from chiasm.errors import NotFound, Overloaded
from chiasm.jobs import JobRecord

JOB = JobRecord(id="job_1", name="index_folder", status="running", params={}, done=3, total=9)


class Source:
    """A job that changes; ``error`` is raised instead."""

    def __init__(self) -> None:
        self.job = JOB
        self.error: Exception | None = None

    def __call__(self) -> JobRecord:
        if self.error is not None:
            raise self.error
        return self.job


def follower(source: Source, seen: str = "") -> JobFollower:
    return JobFollower(source, lambda job: {"done": job.done}, seen)


def told(look: Look) -> tuple[str, str, dict]:
    fields = dict(line.split(": ", 1) for line in look.text.decode().splitlines() if line)
    return fields["id"], fields["event"], json.loads(fields["data"])


def test_each_change_is_told_once():
    source = Source()
    follow = follower(source)
    assert told(follow.look()) == ("running:3:9", "progress", {"done": 3})
    assert follow.look() == Look(text=b"", ended=False)
    source.job = replace(JOB, done=4)
    assert told(follow.look()) == ("running:4:9", "progress", {"done": 4})
    source.job = replace(JOB, status="completed", done=9)
    last = follow.look()
    assert told(last) == ("completed:9:9", "end", {"done": 9})
    assert last.ended


def test_who_has_heard_of_it_hears_nothing_twice():
    source = Source()
    assert follower(source, seen="running:3:9").look().text == b""
    source.job = replace(JOB, status="failed", done=9)
    assert follower(source, seen="failed:9:9").look() == Look(text=b"", ended=True)
    assert told(follower(source, seen="anything\r\nelse").look())[1] == "end"


def test_a_job_that_is_deleted_is_gone_and_a_library_that_is_away_comes_back():
    source = Source()
    follow = follower(source)
    source.error = Overloaded("starting", "正在启动")
    assert follow.look() == Look(text=b"", ended=False)
    source.error = NotFound("none", "没有")
    look = follow.look()
    assert (told(look)[1], look.ended) == ("gone", True)


class Reader:
    """granian's side: keeps what is sent; ``leave`` is when the client goes."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.head: tuple[int, list[tuple[str, str]]] | None = None
        self.sent: list[bytes] = []
        self.leave = asyncio.Event()
        self._fails_at = fails_at

    def response_stream(self, status, headers):
        self.head = (status, headers)
        return self

    async def send_bytes(self, data: bytes) -> None:
        if self._fails_at == len(self.sent):
            raise RuntimeError("the client is gone")
        self.sent.append(data)

    async def client_disconnect(self) -> None:
        await self.leave.wait()


ANSWER = Answer(200, [("content-type", "text/event-stream"), ("Content-Length", "5")], b"first", None, ())


def run(looks: list[Look], monkeypatch, *, answer: Answer = ANSWER, leave: bool = False, **options):
    """The reader after it was served; and how often the follower was closed."""
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.0)
    closed, left = [], iter(looks)

    async def serve() -> Reader:
        reader = Reader(options.pop("fails_at", None))
        if leave:
            reader.leave.set()
        follow = Follower(look=lambda: next(left), close=lambda: closed.append(True))
        with ThreadPoolExecutor(1) as pool:
            await streams.follow(follow, answer, reader, pool, **options)
        return reader

    return asyncio.run(serve()), len(closed)


def test_a_stream_goes_on_until_the_end(monkeypatch):
    looks = [Look(b"", False), Look(b"second", False), Look(b"third", True)]
    reader, closed = run(looks, monkeypatch)
    assert reader.sent == [b"first", b"second", b"third"]
    assert reader.head == (200, [("content-type", "text/event-stream")])
    assert closed == 1


def test_a_silent_stream_says_that_it_is_there(monkeypatch):
    now = iter(float(n * 10) for n in range(100))
    looks = [Look(b"", False)] * 3 + [Look(b"end", True)]
    reader, _ = run(looks, monkeypatch, clock=lambda: next(now))
    assert HEARTBEAT in reader.sent
    assert reader.sent[-1] == b"end"


def test_no_stream_lasts_for_ever(monkeypatch):
    now = iter(float(n * 200) for n in range(100))
    reader, closed = run([Look(b"more", False)] * 50, monkeypatch, clock=lambda: next(now))
    assert len(reader.sent) < 10
    assert closed == 1


@pytest.mark.parametrize("options", [{"leave": True}, {"fails_at": 0}, {"fails_at": 1}])
def test_a_reader_that_leaves_frees_its_place(monkeypatch, options):
    _, closed = run([Look(b"more", False)] * 5, monkeypatch, **options)
    assert closed == 1


def test_a_refusal_after_all_is_not_followed(monkeypatch):
    reader, closed = run([], monkeypatch, answer=Answer(500, [], b"{}", None, ()))
    assert (reader.head, reader.sent, closed) == ((500, []), [b"{}"], 1)
