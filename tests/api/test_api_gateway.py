"""Bodies and answers between granian and Flask, without granian: a list of chunks plays its part."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from chiasm.api import gateway, receiving
from chiasm.api.busy import Refusal
from chiasm.api.gateway import BLOCK, DEPARTURE, REFUSAL, Gateway, environ_of, merged
from chiasm.api.receiving import Receiver
from chiasm.api.watching import CALLER
from chiasm.errors import ChiasmError, DeadlineExceeded, Overloaded, TooLarge, Unauthorized
from chiasm.settings import Limits

JSON, FORM = {"content-type": "application/json"}, {"content-type": "multipart/form-data; boundary=b"}
LIMITS = Limits(json_bytes=1000, body_bytes=5000, uploads=1)


@dataclass
class Played:
    """granian's side of one request: what comes in, and a note of what goes out."""

    chunks: list[bytes] = field(default_factory=list)
    stalls: bool = False
    left: bool = False
    status: int = 0
    body: bytes = b""
    pieces: int = 0
    read: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.read += 1
            yield chunk
        if self.stalls:
            await asyncio.sleep(3600)

    async def client_disconnect(self) -> None:
        await self.gone.wait()

    def response_bytes(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def response_stream(self, status, headers):
        self.status, self.headers = status, headers
        return self

    async def send_bytes(self, data):
        if self.left:
            raise RuntimeError("the client has left")
        self.body += data
        self.pieces += 1


class Echo:
    """A WSGI application that answers with what it was sent, or with the refusal's code."""

    def __init__(self, answer: list[bytes] | None = None) -> None:
        self.answer = answer
        self.calls = self.closed = 0

    def __call__(self, environ, start_response):
        self.calls += 1
        self.environ = environ
        start_response("200 OK", [("X-Echo", "1")])
        if REFUSAL in environ:
            self.refusal = environ[REFUSAL]
            return [self.refusal.code.encode()]
        self.rest = iter(self.answer or [environ["wsgi.input"].read()])
        return self

    def __iter__(self):
        return self.rest

    def close(self):
        self.closed += 1


def scope_of(method="POST", path="/", **headers):
    return SimpleNamespace(
        proto="http",
        http_version="1.1",
        server="127.0.0.1:8000",
        client="127.0.0.1:4321",
        scheme="http",
        method=method,
        path=path,
        query_string="a=%20b",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def refuse(method, path, headers):
    return Refusal(503, [], b"busy")


def gateway_of(application, receiver, *, threads=1, places=4, patience=60.0, **options):
    return Gateway(
        application, receiver, threads=threads, places=places, patience=patience, busy=refuse, **options
    )


def play(application, exchange, tmp_path, *, threads=2, seconds=60.0, patience=60.0, **headers):
    async def run() -> None:
        receiver = Receiver(LIMITS, tmp_path / "uploads", seconds)
        gateway = gateway_of(application, receiver, threads=threads, patience=patience)
        await gateway.__rsgi__(scope_of(**headers), exchange)

    asyncio.run(run())


def receive(receiver: Receiver, chunks: Played, headers: dict):
    """What the receiver makes of a body, and its bytes."""

    async def run():
        async with receiver.receive(aiter(chunks), headers) as body:
            return body, body.file.read(), not isinstance(body.file, io.BytesIO)

    return asyncio.run(run())


def test_a_body_reaches_the_application_whole_and_its_answer_comes_back(tmp_path):
    echo, exchange = Echo(), Played([b"ab", b"cd"])
    play(echo, exchange, tmp_path, content_length="4", content_type="application/json")
    assert (exchange.status, exchange.body, echo.closed) == (200, b"abcd", 1)
    assert echo.environ["CONTENT_TYPE"] == "application/json"


def test_a_body_that_was_broken_off_is_nobody_s_request(tmp_path):
    echo, exchange = Echo(), Played([b"ab"])
    play(echo, exchange, tmp_path, content_length="4")
    assert (echo.calls, exchange.status) == (0, 0)


@pytest.mark.parametrize("announced", [True, False])
def test_too_long_a_body_is_answered_and_then_read_on(tmp_path, announced):
    echo, exchange = Echo(), Played([b"a" * 600] * 5)
    headers = {"content_length": "3000"} if announced else {"transfer_encoding": "chunked"}
    play(echo, exchange, tmp_path, **headers)
    assert exchange.body == b"too_large"
    assert exchange.read == 5, "a client that is still sending must be able to read the answer"


def test_a_stalled_body_is_given_up_without_a_thread(tmp_path):
    echo, exchange = Echo(), Played([b"ab"], stalls=True)
    play(echo, exchange, tmp_path, seconds=0.01, content_length="4")
    assert isinstance(echo.refusal, DeadlineExceeded)


def test_a_form_may_be_longer_than_json(tmp_path):
    for headers, fine in ((JSON, False), (FORM, True)):
        body, data, _ = receive(Receiver(LIMITS, tmp_path, 60), Played([b"a" * 900] * 3), headers)
        assert body.complete is fine
        assert isinstance(body.refusal, TooLarge) is not fine
        assert not fine or data == b"a" * 2700


def test_long_bodies_lie_on_disk_and_only_so_many_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(receiving, "MEMORY_BYTES", 1000)
    receiver = Receiver(LIMITS, tmp_path / "uploads", 60)

    async def run() -> None:
        async with receiver.receive(aiter(Played([b"a" * 900, b"b" * 900])), FORM) as first:
            assert first.file.read() == b"a" * 900 + b"b" * 900
            async with receiver.receive(aiter(Played([b"a" * 2000])), FORM) as second:
                assert isinstance(second.refusal, Overloaded)
            async with receiver.receive(aiter(Played([b"a" * 200])), FORM) as small:
                assert small.complete
        async with receiver.receive(aiter(Played([b"a" * 2000])), FORM) as third:
            assert third.complete, "the first one's place is free again"

    asyncio.run(run())
    assert list((tmp_path / "uploads").iterdir()) == []


def test_many_small_bodies_together_go_to_disk_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(receiving, "TOTAL_MEMORY_BYTES", 1000)
    receiver = Receiver(LIMITS, tmp_path, 60)

    async def run() -> None:
        async with (
            receiver.receive(aiter(Played([b"a" * 900])), JSON) as first,
            receiver.receive(aiter(Played([b"b" * 900])), JSON) as second,
        ):
            kinds = [isinstance(body.file, io.BytesIO) for body in (first, second)]
            assert (kinds, second.file.read()) == ([True, False], b"b" * 900)

    asyncio.run(run())
    assert receive(receiver, Played([b"c" * 900]), JSON)[2] is False, "what was held is counted back"


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(receiving, "MEMORY_BYTES", 0)
    (tmp_path / "file").touch()
    body, _, _ = receive(Receiver(LIMITS, tmp_path / "file", 60), Played([b"a"]), JSON)
    assert isinstance(body.refusal, ChiasmError)
    assert "expected to write below" in body.refusal.en


class Held(Echo):
    """Answers when it is told to."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()
        self.served = []

    def __call__(self, environ, start_response):
        self.served.append(environ.get("HTTP_AUTHORIZATION", environ["PATH_INFO"]))
        if environ["PATH_INFO"] == "/":
            assert self.go.wait(30)
        environ[CALLER] = environ.get("HTTP_AUTHORIZATION")
        return super().__call__(environ, start_response)


async def begin(gateway, **headers):
    """A request, as far as it comes by itself."""
    exchange = Played([b"ab"] * 3)
    task = asyncio.create_task(gateway.__rsgi__(scope_of(**headers), exchange))
    await asyncio.sleep(0.01)
    return exchange, task


def test_a_request_without_a_thread_and_a_place_is_refused_at_once(tmp_path):
    async def run() -> None:
        gateway = gateway_of(held := Held(), Receiver(LIMITS, tmp_path, 60), places=2)
        tasks = [(await begin(gateway))[1] for _ in range(2)]
        full, third = await begin(gateway, content_length="6")
        assert (full.status, full.body, third.done()) == (503, b"busy", True)
        assert full.read == 3, "what it still sends is read on and forgotten"
        held.go.set()
        await asyncio.gather(*tasks)
        assert (await begin(gateway))[0].status == 200
        assert held.calls == 3

    asyncio.run(run())


def test_who_waits_longer_than_is_allowed_is_refused(tmp_path):
    async def run() -> None:
        gateway = gateway_of(held := Held(), Receiver(LIMITS, tmp_path, 60), patience=0.001)
        _, first = await begin(gateway)
        late, second = await begin(gateway)
        assert (late.body, second.done()) == (b"busy", True)
        held.go.set()
        await first

    asyncio.run(run())


def test_probes_are_answered_whatever_all_threads_do(tmp_path):
    async def run() -> None:
        gateway = gateway_of(held := Held(), Receiver(LIMITS, tmp_path, 60), places=0)
        _, first = await begin(gateway)
        for path in ("/healthz", "/readyz", "/metrics"):
            probe = Played()
            await gateway.__rsgi__(scope_of("GET", path), probe)
            assert probe.status == 200
        held.go.set()
        await first

    asyncio.run(run())


def test_callers_that_are_known_take_turns(tmp_path):
    async def run() -> None:
        gateway = gateway_of(held := Held(), Receiver(LIMITS, tmp_path, 60), places=40)
        held.go.set()
        for key in ("a", "b"):
            await (await begin(gateway, authorization=key))[1]
        held.go.clear()
        held.served.clear()
        tasks = [(await begin(gateway, authorization=key))[1] for key in "aaaabb?"]
        held.go.set()
        await asyncio.gather(*tasks)
        assert "".join(held.served) == "aab?aba", "the first has a thread at once; then in turn"

    asyncio.run(run())


def test_long_answers_go_out_in_pieces_and_are_closed(tmp_path):
    for left, sent in ((False, 2 * BLOCK + 7), (True, 0)):
        echo, exchange = Echo([b"x" * BLOCK, b"y" * BLOCK, b"z" * 7]), Played(left=left)
        play(echo, exchange, tmp_path)
        assert (len(exchange.body), echo.closed) == (sent, 1)


def test_the_environ_is_what_wsgi_says():
    environ = environ_of(scope_of("GET", "/红/a b", x_a="1"), {"x-a": "1", "content-length": "3"}, None)
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/红/a b"
    assert (environ["HTTP_X_A"], environ["CONTENT_LENGTH"]) == ("1", "3")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", "8000")
    assert environ["REMOTE_ADDR"] == "127.0.0.1"


def test_repeated_headers_are_joined_and_look_alikes_dropped():
    given = [("host", "a"), ("host", "b"), ("cookie", "x=1"), ("cookie", "y=2"), ("x_forwarded_for", "z")]
    assert merged(given) == {"host": "a,b", "cookie": "x=1; y=2"}


def test_the_application_is_told_when_its_client_leaves(tmp_path):
    exchange, told = Played(), threading.Event()

    class Slow(Echo):
        def __call__(self, environ, start_response):
            with environ[DEPARTURE].means(told.set):
                exchange.loop.call_soon_threadsafe(exchange.gone.set)
                assert told.wait(30)
            return super().__call__(environ, start_response)

    async def run() -> None:
        exchange.loop = asyncio.get_running_loop()
        gateway = gateway_of(Slow(), Receiver(LIMITS, tmp_path, 60.0))
        await gateway.__rsgi__(scope_of("GET"), exchange)

    asyncio.run(run())
    assert told.is_set()


def test_who_left_while_waiting_for_a_thread_gets_none(tmp_path):
    busy, gone, echo = threading.Event(), Played(), Echo()

    def hold(environ, start_response):
        assert busy.wait(30)
        return echo(environ, start_response)

    async def run() -> None:
        gateway = gateway_of(hold, Receiver(LIMITS, tmp_path, 60.0))
        first = asyncio.create_task(gateway.__rsgi__(scope_of("GET"), Played()))
        await asyncio.sleep(0)
        second = asyncio.create_task(gateway.__rsgi__(scope_of("GET"), gone))
        await asyncio.sleep(0)
        gone.gone.set()
        await asyncio.sleep(0.01)
        busy.set()
        await asyncio.gather(first, second)

    asyncio.run(run())
    assert echo.calls == 1
    assert gone.status == 0


def test_a_large_body_is_not_taken_in_from_those_who_may_not_come_in(tmp_path, monkeypatch):
    monkeypatch.setattr(gateway, "MEMORY_BYTES", 100)
    asked = []

    def knock(headers):
        asked.append(headers)
        raise Unauthorized("a", "b")

    async def run(exchange, **headers) -> None:
        taking = gateway_of(echo := Echo(), Receiver(LIMITS, tmp_path, 60.0), knock=knock)
        await taking.__rsgi__(scope_of(**headers), exchange)
        return echo

    large = Played([b"x" * 150] * 4)
    assert asyncio.run(run(large, content_length="600", authorization="Bearer ?")).calls == 1
    assert large.body == b"invalid_api_key"
    assert large.read == 4, "read on and forgotten, so that the client sees the answer"
    assert asked[0]["authorization"] == "Bearer ?"
    asyncio.run(run(Played([b"x"]), transfer_encoding="chunked"))
    assert len(asked) == 2
    small = Played([b"x" * 50])
    asyncio.run(run(small, content_length="50"))
    assert (len(asked), small.body) == (2, b"x" * 50)


def test_at_the_end_of_the_process_what_is_open_is_closed(tmp_path):
    closed = []
    ending = gateway_of(Echo(), Receiver(LIMITS, tmp_path, 60.0), on_close=lambda: closed.append(True))
    ending.__rsgi_del__(None)
    assert closed == [True]
