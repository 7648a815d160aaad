"""Many requests at a time over connections that stay open, from one thread: it shares the machine.

A *closed* loop sends a client's next request when the last is answered, and so finds the greatest speed. An
*open* loop sends at moments that do not depend on answers, as callers who know nothing of each other do;
its times count from the moment at which a request was due, so that a server that stalls is not spared those
that came meanwhile ("coordinated omission").
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CONNECTIONS = 2000  # of an open loop, at most
PATIENCE = 90.0  # seconds for an answer

Make = Callable[[int], bytes]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One request's end: ``status`` 0 if none came. ``due`` and ``ended`` are ``time.perf_counter()``."""

    number: int
    status: int
    due: float
    ended: float
    body: bytes = field(repr=False, default=b"")

    @property
    def seconds(self) -> float:
        """From when it was due to its last byte."""
        return self.ended - self.due


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """All the answers of one run that took ``seconds``."""

    answers: Sequence[Answer]
    seconds: float

    def with_status(self, *wanted: int) -> list[Answer]:
        """Those that ended so."""
        return [answer for answer in self.answers if answer.status in wanted]

    def per_second(self) -> float:
        """Requests a second that were answered with 200."""
        return len(self.with_status(200)) / self.seconds

    def quantiles(self, *shares: float) -> list[float]:
        """Seconds of those that were answered with 200."""
        taken = [answer.seconds for answer in self.with_status(200)]
        return (
            [float(value) for value in np.quantile(taken, shares)] if taken else [float("nan")] * len(shares)
        )


def post(path: str, body: dict[str, Any]) -> bytes:
    """A whole request with JSON, as bytes."""
    return request("POST", path, body)


def request(method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
    """A whole request, as bytes."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = (
        f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    )  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def closed_loop(port: int, make: Make, *, clients: int, seconds: float) -> Traffic:
    """``clients`` that each wait for an answer before they ask again; all different requests by number."""

    async def run() -> Traffic:
        numbers = iter(range(1 << 30))
        begun = time.perf_counter()
        end = begun + seconds
        pool = _Pool(port, clients)
        found = await asyncio.gather(*(_client(pool, make, numbers, end) for _ in range(clients)))
        pool.close()
        return Traffic(answers=[one for some in found for one in some], seconds=time.perf_counter() - begun)

    return asyncio.run(run())


def open_loop(port: int, make: Make, *, rate: float, seconds: float, seed: int = 0) -> Traffic:
    """``rate`` requests a second on average, at moments drawn at random (a Poisson process)."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))

    async def run() -> Traffic:
        pool = _Pool(port, CONNECTIONS)
        begun = time.perf_counter()
        tasks = []
        for number, moment in enumerate(begun + np.cumsum(gaps)):
            ready = make(number)
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            tasks.append(asyncio.create_task(pool.ask(number, ready, float(moment))))
        answers = await asyncio.gather(*tasks)
        last = max((answer.ended for answer in answers), default=begun)
        pool.close()
        return Traffic(answers=answers, seconds=last - begun)

    return asyncio.run(run())


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; chunked answers do not occur here."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
        return int(head[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


async def _connect(port: int) -> _Connection:
    return _Connection(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))


class _Pool:
    """Connections to one server, at most so many."""

    def __init__(self, port: int, most: int) -> None:
        self._port = port
        self._room = asyncio.Semaphore(most)
        self._idle: list[_Connection] = []

    async def ask(self, number: int, request: bytes, due: float) -> Answer:
        status, body = 0, b""
        with suppress(OSError, EOFError, TimeoutError):
            async with self._room, asyncio.timeout(PATIENCE):
                status, body = await self._ask(request)
        return Answer(number=number, status=status, due=due, ended=time.perf_counter(), body=body)

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        while self._idle:
            with suppress(OSError, EOFError):  # the server has closed it meanwhile
                return await self._ask_over(self._idle.pop(), request)
        return await self._ask_over(await _connect(self._port), request)

    async def _ask_over(self, connection: _Connection, request: bytes) -> tuple[int, bytes]:
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


async def _client(pool: _Pool, make: Make, numbers: Iterator[int], end: float) -> list[Answer]:
    answers = []
    while time.perf_counter() < end:
        number = next(numbers)
        answers.append(await pool.ask(number, make(number), time.perf_counter()))
    return answers
