"""Between granian and Flask: bodies come in and answers go out on an event loop; a thread only computes.

granian's own WSGI side gives a thread to a request as soon as its headers are there; the thread then waits
for the body, and later for the reader, as long as the client likes. Here a thread gets a complete body.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from chiasm.api.busy import Refusal
from chiasm.api.events import FOLLOWER
from chiasm.api.receiving import MEMORY_BYTES, Receiver
from chiasm.api.streams import LOOKERS, follow
from chiasm.api.waiting import Callers, WaitingRoom
from chiasm.api.watching import ARRIVED, CALLER, QUIET
from chiasm.errors import ChiasmError
from chiasm.serving.departure import Departure

GATEWAY = "chiasm.gateway"  # in the environ: this gateway is there, and goes on with streams of events
REFUSAL = "chiasm.refusal"  # in the environ: the error that this request gets, whatever it asks for
DEPARTURE = "chiasm.departure"  # in the environ: whether the client is still there
COMPLETE = "chiasm.complete"  # in the environ: ``time.monotonic()`` when the body was there
SPARE = 2  # threads for probes, refusals and looks at keys, whatever all others do
BLOCK = 1 << 18  # bytes of a streamed answer in one piece
LINGER_BYTES = 1 << 30
LINGER_SECONDS = 30.0
LINGER_IDLE_SECONDS = 5.0

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Headers(Protocol):
    """granian's request headers: lower-case names."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Repeated ones one by one."""


class Scope(Protocol):
    """granian's RSGI scope, as far as it matters here; ``path`` is decoded."""

    proto: str
    http_version: str
    server: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str
    headers: Headers


class Transport(Protocol):
    """granian's way to send an answer in pieces."""

    async def send_bytes(self, data: bytes) -> None:
        """Returns when there is room for more."""


class Exchange(Protocol):
    """granian's RSGI protocol: a request's body, and where its answer goes."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def client_disconnect(self) -> None:
        """Returns when the client has left."""

    def response_bytes(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """The whole answer."""

    def response_stream(self, status: int, headers: Sequence[tuple[str, str]]) -> Transport:
        """The answer's head."""


def _let_in(_headers: Mapping[str, str]) -> None:
    return


def _let_be() -> None:
    return


class Gateway:
    """An RSGI application over a WSGI application.

    Args:
        application: called in a thread; raises the error that it finds at :data:`REFUSAL`.
        receiver: takes bodies in.
        threads: requests that are worked on at a time.
        places: requests that may wait for a thread; callers take turns (:class:`.WaitingRoom`).
        patience: seconds that a request waits for a thread.
        busy: makes the answer to a request that does not even find a place.
        knock: told the headers of a request before its body is taken in, if that is large; raises the error
            that the request gets instead.
        on_close: called at the end of the process.
    """

    def __init__(
        self,
        application: Application,
        receiver: Receiver,
        *,
        threads: int,
        places: int,
        patience: float,
        busy: Callable[[str, str, Mapping[str, str]], Refusal],
        knock: Callable[[Mapping[str, str]], None] = _let_in,
        on_close: Callable[[], None] = _let_be,
    ) -> None:
        self._application = application
        self._receiver = receiver
        self._patience = patience
        self._knock = knock
        self._on_close = on_close
        self._busy = busy
        self._room = WaitingRoom(threads, places)
        self._callers = Callers()
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="look")
        self._spare = ThreadPoolExecutor(SPARE, thread_name_prefix="spare")

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """One request, from its headers to the end of its answer."""
        arrived = time.monotonic()
        if scope.proto != "http":
            return
        headers = merged(scope.headers.items())
        chunks = aiter(exchange) if _has_body(headers) else None  # kept: without it granian stops reading
        caller = self._callers.of(headers)
        if scope.path not in QUIET and not self._room.has_room(caller):
            self._turn_away(scope, headers, exchange)
            if chunks is not None:
                await _linger(chunks)
            return
        refusal = await self._refusal(headers)
        async with self._receiver.receive(chunks if refusal is None else None, headers) as body:
            if body.abandoned:
                return
            environ = environ_of(scope, headers, body.file)
            environ |= {ARRIVED: arrived, COMPLETE: time.monotonic(), GATEWAY: True}
            refusal = refusal or body.refusal
            if refusal is not None:
                environ[REFUSAL] = refusal
            departure = environ[DEPARTURE] = Departure()
            watching = asyncio.create_task(_watch(exchange, departure))
            try:
                if refusal is not None or scope.path in QUIET:
                    await self._run(self._spare, environ, exchange)
                elif not await self._work(environ, caller, exchange):
                    self._turn_away(scope, headers, exchange)
            finally:
                watching.cancel()
            self._callers.learn(headers, environ.get(CALLER))
        if chunks is not None and (refusal is not None or not body.complete):
            await _linger(chunks)

    def __rsgi_del__(self, _loop: object) -> None:
        """granian's last word to a process."""
        self._workers.shutdown()
        self._spare.shutdown()
        self._on_close()

    async def _refusal(self, headers: Mapping[str, str]) -> ChiasmError | None:
        """Whether a large body is not even wanted."""
        if not _is_large(headers):
            return None
        try:
            await asyncio.get_running_loop().run_in_executor(self._spare, self._knock, headers)
        except ChiasmError as error:
            return error
        return None

    async def _work(self, environ: dict[str, Any], caller: str, exchange: Exchange) -> bool:
        """Answer when it is this caller's turn; whether that came."""
        if not await self._room.enter(caller, self._patience):
            return False
        try:
            if environ[DEPARTURE].happened:
                return True
            answer = await self._run(self._workers, environ, exchange)
        finally:
            self._room.leave()
        if answer is not None:
            await follow(environ[FOLLOWER], answer, exchange, self._lookers)
        return True

    def _turn_away(self, scope: Scope, headers: Mapping[str, str], exchange: Exchange) -> None:
        exchange.response_bytes(*self._busy(scope.method, scope.path, headers))

    async def _run(
        self, workers: ThreadPoolExecutor, environ: dict[str, Any], exchange: Exchange
    ) -> "Answer | None":
        """Answer; or return the beginning of an answer that goes on without a thread of its own."""
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(workers, _begin, self._application, environ)
        if FOLLOWER in environ:
            return answer
        if answer.rest is None:
            exchange.response_bytes(answer.status, answer.headers, answer.block)
            return None
        try:
            transport = exchange.response_stream(answer.status, answer.headers)
            block = answer.block
            while block:
                await transport.send_bytes(block)
                block = await loop.run_in_executor(workers, _block_of, answer.rest)
        except RuntimeError:
            pass  # granian's: the client has left
        finally:
            await loop.run_in_executor(workers, _close, answer.pieces)
        return None


class Answer(NamedTuple):
    """The head of an answer, its first block, and the rest if there is any."""

    status: int
    headers: list[tuple[str, str]]
    block: bytes
    rest: Iterator[bytes] | None
    pieces: Iterable[bytes]


def _begin(application: Application, environ: dict[str, Any]) -> Answer:
    head: list[tuple[int, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _failure: Any = None) -> None:
        head[:] = [(int(status[:3]), headers)]

    pieces = application(environ, start_response)
    rest = iter(pieces)
    block = _block_of(rest)
    if len(block) < BLOCK:
        _close(pieces)
        return Answer(*head[0], block, None, pieces)
    return Answer(*head[0], block, rest, pieces)


def _block_of(pieces: Iterator[bytes]) -> bytes:
    """The next :data:`BLOCK` bytes or more; less only at the end."""
    taken, size = [], 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size >= BLOCK:
            break
    return taken[0] if len(taken) == 1 else b"".join(taken)


def _close(pieces: Iterable[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


async def _watch(exchange: Exchange, departure: Departure) -> None:
    await exchange.client_disconnect()
    departure.happen()


def _has_body(headers: Mapping[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _is_large(headers: Mapping[str, str]) -> bool:
    announced = headers.get("content-length", "0")
    return "transfer-encoding" in headers or not announced.isdecimal() or int(announced) > MEMORY_BYTES


async def _linger(chunks: AsyncIterator[bytes]) -> None:
    """Read on and forget: a client that is cut off while it still sends may never see the answer."""
    left = LINGER_BYTES
    with suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                async with asyncio.timeout(LINGER_IDLE_SECONDS):
                    left -= len(await anext(chunks))


def merged(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One value a name, as WSGI has it. Names with ``_`` would pass for others there and are left out."""
    found: dict[str, str] = {}
    for name, value in headers:
        if "_" not in name:
            found[name] = (
                f"{found[name]}{'; ' if name == 'cookie' else ','}{value}" if name in found else value
            )
    return found


def environ_of(scope: Scope, headers: Mapping[str, str], body: Any) -> dict[str, Any]:
    """What PEP 3333 says that an application is called with."""
    server, _, port = scope.server.rpartition(":")
    client, _, client_port = scope.client.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": server,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": client.strip("[]"),
        "REMOTE_PORT": client_port,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
    return environ
