"""A server of its own: seconds to the first embedding, memory after many requests, time of one request."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiasm.evaluation.report import Row, Target
from chiasm.evaluation.speed.server import Server, audio_part, image_part, tone
from chiasm.evaluation.speed.subject import Subject, jpeg, turns

GROUP = "serving"
STARTS, REQUESTS, SINGLE = 3, 1000, 200
_MEGABYTE = 1e6


def serving(subject: Subject) -> list[Row]:
    """Start a server a few times, then ask one of them."""
    # Made before a server waits for them: it ends connections on which nothing comes for ten seconds.
    pictures = [jpeg(np.random.default_rng([11, number])) for number in range(2 * subject.count(SINGLE, 5))]
    with tempfile.TemporaryDirectory(prefix="chiasm-bench-") as name:
        folder = Path(name)
        starts = []
        for _ in range(subject.count(STARTS, 1) - 1):
            with Server(subject.source, folder) as server:
                starts.append(server.first_embedding())
        with Server(subject.source, folder) as server:
            starts.append(server.first_embedding())
            rows = [_startup(np.array(starts)), *_single(subject, server, pictures)]
            rows.append(_memory(subject, server))
        return rows


def _startup(starts: NDArray[np.float64]) -> Row:
    return Row(
        group=GROUP,
        what="chiasm serve to the first embedding, median",
        n=len(starts),
        figure=float(np.median(starts)),
        low=float(starts.min()),
        high=float(starts.max()),
        target=Target(most=6.0),
        unit="s",
    )


def _single(subject: Subject, server: Server, pictures: Sequence[bytes]) -> list[Row]:
    """One request at a time over HTTP and in process, in turns; contents differ, so no cache answers."""
    count = len(pictures) // 2
    texts = [f"a red apple and {number} green pears" for number in range(2 * count)]
    model = subject.model
    taken = {
        "a text": turns(
            lambda i: server.embed([texts[2 * i]]), lambda i: model.embed([texts[2 * i + 1]]), count
        ),
        "a picture (JPEG 640x480)": turns(
            lambda i: server.embed([image_part(pictures[2 * i])]),
            lambda i: model.embed([pictures[2 * i + 1]]),
            count,
        ),
    }
    return [_compared(what, 1000 * seconds) for what, seconds in taken.items()]


def _compared(what: str, taken: NDArray[np.float64]) -> Row:
    over_http, in_process = np.median(taken, axis=0)
    return Row(
        group=GROUP,
        what=f"{what} over HTTP, median",
        n=len(taken),
        figure=float(over_http),
        low=float(np.quantile(taken[:, 0], 0.025)),
        high=float(np.quantile(taken[:, 0], 0.975)),
        baselines={"in process": float(in_process)},
        # 1.3 times or 3 ms more, whichever is larger.
        target=Target(most=float(max(1.3 * in_process, in_process + 3.0))),
        unit="ms",
    )


def _memory(subject: Subject, server: Server) -> Row:
    count = subject.count(REQUESTS, 9)
    for number in range(count):
        rng = np.random.default_rng([13, number])
        kind = number % 3
        if kind == 0:
            server.embed([f"{number} things in a row", f"一排{number}个东西"])
        elif kind == 1:
            server.embed([image_part(jpeg(rng))])
        else:
            server.embed([audio_part(tone(rng))])
    used = server.usage()
    return Row(
        group=GROUP,
        what=f"memory (PSS) of {used.processes} processes after {count} mixed requests",
        n=1,
        figure=used.pss / _MEGABYTE,
        target=Target(most=900.0),
        unit="MB",
    )
