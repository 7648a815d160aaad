"""A server under load: what an item costs it, its tail at 80 %, and what it does at ten times its speed.

The sender shares the machine with the server. Seconds of CPU are the server's alone; all other figures are
those of a machine that has to do both. The engine keeps no results, so that contents may come again.
"""

import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from chiasm.evaluation.report import Row, Target
from chiasm.evaluation.speed.searching import phrases
from chiasm.evaluation.speed.server import Server, image_part
from chiasm.evaluation.speed.subject import Subject, jpeg
from chiasm.evaluation.speed.traffic import Make, closed_loop, open_loop, post

GROUP = "load"
TEXTS = 16  # of one request
PICTURES = 128  # different ones
CLIENTS = 16  # that find the greatest speed
ROUNDS, SECONDS, LONG_SECONDS = 5, 6, 30
SHARE, OVERLOAD = 0.8, 10.0
STALLED = 80
DEADLINE = 60.0  # seconds; ``server.deadline`` as it is shipped
PROMPT_MS = 50.0
ENVIRONMENT = {"CHIASM_ENGINE_CACHE_BYTES": "0", "CHIASM_LIBRARY_SAMPLE": "false"}


def load(subject: Subject) -> list[Row]:
    """Ask one server in many ways."""
    stock = Stock(subject)
    with (
        tempfile.TemporaryDirectory(prefix="chiasm-bench-") as name,
        Server(subject.source, Path(name), environment=ENVIRONMENT) as server,
    ):
        server.first_embedding()
        for make in (stock.texts, stock.picture):
            closed_loop(server.port, make, clients=CLIENTS, seconds=subject.count(3, 1))
        return [
            *_cost(subject, server, stock),
            *_tail(subject, server, stock),
            *_overload(subject, server, stock),
            _stalled(subject, server, stock),
        ]


class Stock:
    """Requests, ready to be sent, and the same contents for a model in this process."""

    def __init__(self, subject: Subject) -> None:
        count = subject.count(PICTURES, 8)
        self.jpegs = [jpeg(np.random.default_rng([17, number])) for number in range(count)]
        groups = np.array(phrases(TEXTS * subject.count(256, 8))).reshape(-1, TEXTS)
        self.groups: list[list[str]] = groups.tolist()
        parts = [image_part(data) for data in self.jpegs]
        self._pictures = [_embed([part]) for part in parts]
        self._albums = [_embed([parts[(number + i) % count] for i in range(8)]) for number in range(count)]
        self._texts = [_embed(group) for group in self.groups]

    def picture(self, number: int) -> bytes:
        """One picture."""
        return self._pictures[number % len(self._pictures)]

    def texts(self, number: int) -> bytes:
        """:data:`TEXTS` texts."""
        return self._texts[number % len(self._texts)]

    def mixed(self, number: int) -> bytes:
        """Five of ten requests are texts, three are a picture, two are eight pictures."""
        kind = int(np.random.default_rng([19, number]).integers(10))
        if kind < 5:
            return self.texts(number)
        return self.picture(number) if kind < 8 else self._albums[number % len(self._albums)]


def _embed(parts: Sequence[Any]) -> bytes:
    return post("/v1/embeddings", {"input": parts, "encoding_format": "base64"})


def _cost(subject: Subject, server: Server, stock: Stock) -> list[Row]:
    """CPU time of an item: the whole server beside the same calls in this process, in turns."""
    rows = []
    for what, make, contents, many in (
        ("a picture, one a request", stock.picture, [[data] for data in stock.jpegs], 32),
        (f"a text, {TEXTS} a request", stock.texts, stock.groups, 64),
    ):
        size = len(contents[0])
        each = [item for content in contents for item in content]
        merged = [each[start : start + many] for start in range(0, len(each), many)]
        taken = [
            (
                _in_server(server, make, subject.count(SECONDS, 1)) / size,
                _in_process(subject, contents) / size,
                _in_process(subject, merged) / len(merged[0]),
            )
            for _ in range(subject.count(ROUNDS, 1))
        ]
        figure, single, batched = 1000 * np.median(taken, axis=0)
        rows.append(
            Row(
                group=GROUP,
                what=f"CPU time of {what}, all processes, {CLIENTS} clients, median",
                n=len(taken),
                figure=float(figure),
                low=1000 * min(one[0] for one in taken),
                high=1000 * max(one[0] for one in taken),
                baselines={f"in process, {size} a call": single, f"{len(merged[0])} a call": batched},
                target=Target(most=1.18 * single),
                unit="ms",
            )
        )
    return rows


def _in_server(server: Server, make: Make, seconds: float) -> float:
    """Seconds of CPU of one request, over all processes."""
    before = server.usage().cpu_seconds
    traffic = closed_loop(server.port, make, clients=CLIENTS, seconds=seconds)
    return (server.usage().cpu_seconds - before) / len(traffic.with_status(200))


def _in_process(subject: Subject, calls: Sequence[Sequence[Any]]) -> float:
    """Seconds of CPU of one call."""
    before, begun, done = time.process_time(), time.perf_counter(), 0
    while done < 2 or time.perf_counter() - begun < subject.count(SECONDS, 0):
        subject.model.embed(calls[done % len(calls)])
        done += 1
    return (time.process_time() - before) / done


def _tail(subject: Subject, server: Server, stock: Stock) -> list[Row]:
    """The slowest hundredth while callers come at random."""
    rows = []
    for what, make in (("a picture", stock.picture), (f"{TEXTS} texts", stock.texts)):
        peak = _peak(server, make, subject.count(SECONDS, 1))
        traffic = open_loop(server.port, make, rate=SHARE * peak, seconds=subject.count(LONG_SECONDS, 1))
        half, most = 1000 * np.array(traffic.quantiles(0.5, 0.99))
        rows.append(
            Row(
                group=GROUP,
                what=f"{what}: p99 at {SHARE:.0%} of {peak:.1f} requests a second",
                n=len(traffic.with_status(200)),
                figure=most,
                baselines={"p50": half},
                target=Target(most=2 * half),
                unit="ms",
            )
        )
    return rows


def _overload(subject: Subject, server: Server, stock: Stock) -> list[Row]:
    """Ten times as many requests of all sizes as the server can answer."""
    seconds = subject.count(LONG_SECONDS, 2)
    peak = _peak(server, stock.mixed, seconds)
    traffic = open_loop(server.port, stock.mixed, rate=OVERLOAD * peak, seconds=seconds, seed=1)
    sent, answered, refused = traffic.answers, traffic.with_status(200), traffic.with_status(429, 503)
    what = f"at {OVERLOAD:g} times {peak:.1f} requests a second of all sizes"
    waits = 1000 * np.array([answer.seconds for answer in refused] or [0.0])
    return [
        Row(
            group=GROUP,
            what=f"goodput {what}",
            n=len(sent),
            figure=traffic.per_second() / peak,
            target=Target(least=0.95),
        ),
        Row(
            group=GROUP,
            what="the slowest refusal",
            n=len(refused),
            figure=float(waits.max()),
            baselines={"p50": float(np.median(waits)), "p99": float(np.quantile(waits, 0.99))},
            target=Target(most=PROMPT_MS),
            unit="ms",
        ),
        Row(
            group=GROUP,
            what="the slowest answer",
            n=len(answered),
            figure=max((answer.seconds for answer in answered), default=0.0),
            target=Target(most=DEADLINE),
            unit="s",
        ),
        Row(
            group=GROUP,
            what="neither answered nor refused",
            n=len(sent),
            figure=1 - (len(answered) + len(refused)) / len(sent),
            target=Target(most=0.0),
        ),
    ]


def _peak(server: Server, make: Make, seconds: float) -> float:
    """Requests a second when as many are sent as are answered."""
    return closed_loop(server.port, make, clients=CLIENTS, seconds=seconds).per_second()


def _stalled(subject: Subject, server: Server, stock: Stock) -> Row:
    """Medians of others while many uploads stand still, beside those without them, in turns."""
    medians = 1000 * np.array(
        [
            [_median(server, stock, stalled, subject.count(SECONDS, 1)) for stalled in (0, STALLED)]
            for _ in range(subject.count(ROUNDS, 1))
        ]
    )
    alone, beside = np.median(medians, axis=0)
    return Row(
        group=GROUP,
        what=f"{TEXTS} texts beside {STALLED} uploads that stand still, median",
        n=len(medians),
        figure=float(beside),
        low=float(medians[:, 1].min()),
        high=float(medians[:, 1].max()),
        baselines={"without them": float(alone)},
        target=Target(most=1.2 * float(alone)),
        unit="ms",
    )


def _median(server: Server, stock: Stock, stalled: int, seconds: float) -> float:
    head = (
        b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    )
    with ExitStack() as held:
        for _ in range(stalled):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            connection.sendall(head)
        time.sleep(0.2)
        return closed_loop(server.port, stock.texts, clients=1, seconds=seconds).quantiles(0.5)[0]
