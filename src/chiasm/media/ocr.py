"""The words in a picture and where they are, read by PP-OCR (English, Chinese) in onnxruntime: extra ``ocr``.

The models come with the package ``rapidocr`` (Apache-2.0); nothing is fetched. They run in a process of their
own, see ``ocr_child``.
"""

import importlib.util
import json
import logging
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from chiasm.media import ocr_child

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float]

LONG_SIDE = 960  # pixels in which lines are looked for
READ_SIDE = 2000  # pixels in which they are read
LEAST_SIDE = 24  # pixels of those; lower ones hold no line
MOST_LINES = 200  # of one picture: each costs some ten milliseconds
LEAST_CONFIDENCE = 0.6
LEAST_LETTERS = 2  # of a block; less is mostly a pattern
LINE_GAP = 1.2  # of a line's height: what is further below belongs to another block
THREADS = 2
MEMORY = 4 << 30  # bytes of address space
IDLE = 60.0  # seconds after which the process ends, and gives its memory back
PATIENCE = 30.0  # seconds for one picture, or for the models to be loaded
_MOST_BYTES = 1 << 20  # of an answer


@dataclass(frozen=True, kw_only=True)
class Words:
    """What is written in one place; ``box`` is left, top, right, bottom as shares of width and height."""

    text: str
    box: Box


class _Gone(Exception):
    """The process has ended."""


class _Slow(Exception):
    """The process does not answer."""


class TextReader:
    """Reads pictures, one at a time; may be shared by threads. Its process is started when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, pixels: NDArray[np.uint8]) -> list[Words]:
        """The lines of a picture (uint8 ``[height, width, 3]``, RGB), from top to bottom.

        A picture at which the process crashes, or takes too long, has none.
        """
        picture = PIL.Image.fromarray(pixels)
        picture.thumbnail((READ_SIDE, READ_SIDE))
        width, height = picture.size
        if min(width, height) < LEAST_SIDE:
            return []
        body = struct.pack(">II", width, height) + picture.tobytes()
        with self._lock:
            found = self._asked(body)
        lines = [
            Words(text=text.strip(), box=_shares(box, width, height))
            for text, score, box in found
            if score >= LEAST_CONFIDENCE and text.strip()
        ]
        return sorted(lines, key=lambda line: (line.box[1], line.box[0]))

    def close(self) -> None:
        """End the process; the next picture starts another."""
        with self._lock:
            self._end()

    def _asked(self, body: bytes) -> list[tuple[str, float, Box]]:
        for _ in range(2):  # one that was idle may just have ended
            fresh = self._process is None or self._process.poll() is not None
            try:
                process = self._process = self._started() if fresh else self._process
                assert process is not None
                give_up = time.monotonic() + PATIENCE
                _give(process, body, give_up)
                return msgspec.json.decode(_record(process, give_up), type=list[tuple[str, float, Box]])
            except (_Gone, _Slow, OSError, msgspec.DecodeError) as error:
                self._end()
                if fresh or isinstance(error, _Slow):
                    logger.warning("the words in a picture could not be read: %r", error)
                    break
        return []

    def _started(self) -> "subprocess.Popen[bytes]":
        self._end()
        order = {
            "side": READ_SIDE,
            "long": LONG_SIDE,
            "lines": MOST_LINES,
            "threads": THREADS,
            "memory": MEMORY,
            "idle": IDLE,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-I", ocr_child.__file__, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._ending = weakref.finalize(self, _end_of, self._process)  # with the reader, if not before
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        _record(self._process, time.monotonic() + PATIENCE)
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._ending()
            self._process = None


def _end_of(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _give(process: "subprocess.Popen[bytes]", body: bytes, give_up: float) -> None:
    """Write all of it: a process that is stopped takes only what fits into the pipe."""
    assert process.stdin is not None
    left = memoryview(body)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        while left:
            if not selector.select(max(0.0, give_up - time.monotonic())):
                raise _Slow(f"it took nothing for {PATIENCE:g} s")
            left = left[os.write(process.stdin.fileno(), left) :]


def _record(process: "subprocess.Popen[bytes]", give_up: float) -> bytes:
    """The next answer."""
    (size,) = struct.unpack(">I", _taken(process, 4, give_up))
    if size > _MOST_BYTES:
        raise _Gone(f"an answer of {size} bytes")
    return _taken(process, size, give_up)


def _taken(process: "subprocess.Popen[bytes]", size: int, give_up: float) -> bytes:
    assert process.stdout is not None
    taken = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(taken) < size:
            if not selector.select(max(0.0, give_up - time.monotonic())):
                raise _Slow(f"no answer within {PATIENCE:g} s")
            piece = process.stdout.read(size - len(taken))
            if not piece:
                raise _Gone(f"the process ended with {process.wait()}")
            taken += piece
    return taken


def _shares(box: Box, width: int, height: int) -> Box:
    left, top, right, bottom = (np.array(box) / (width, height, width, height)).clip(0, 1).round(4).tolist()
    return left, top, right, bottom


def can_read() -> bool:
    """Whether the extra is installed."""
    return all(importlib.util.find_spec(name) for name in ("rapidocr", "onnxruntime"))


def blocks(lines: Sequence[Words], chars: int) -> list[Words]:
    """Lines that stand together, as one: each below the one before, near it and not beside it.

    Args:
        lines: from top to bottom.
        chars: how long a block may get before another is begun.
    """
    grown: list[list[Words]] = []
    for line in lines:
        home = next((block for block in reversed(grown) if _goes_on(block, line, chars)), None)
        if home is None:
            grown.append([line])
        else:
            home.append(line)
    joined = (Words(text="\n".join(line.text for line in block), box=_around(block)) for block in grown)
    return [block for block in joined if sum(map(str.isalnum, block.text)) >= LEAST_LETTERS]


def _goes_on(block: Sequence[Words], line: Words, chars: int) -> bool:
    left, top, right, bottom = block[-1].box
    overlaps = min(right, line.box[2]) > max(left, line.box[0])
    near = line.box[1] - top >= 0 and line.box[1] - bottom <= LINE_GAP * (bottom - top)
    return overlaps and near and sum(len(one.text) for one in block) + len(line.text) <= chars


def _around(lines: Iterable[Words]) -> Box:
    boxes = np.array([line.box for line in lines])
    left, top = boxes[:, :2].min(0).tolist()
    right, bottom = boxes[:, 2:].max(0).tolist()
    return left, top, right, bottom
