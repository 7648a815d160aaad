"""PDF → pages, each as text and as a picture, read by a confined process (see ``pdf_child``)."""

import json
import re
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput, TooLarge, UnsupportedMedia
from chiasm.media import pdf_child
from chiasm.media.bounds import Deadline, Source, open_source
from chiasm.modality import Image
from chiasm.settings import Limits

SIDE = 1024  # pixels of a page's longer side: enough for a model's picture, and to be recognised by people
MAX_SIDE = 4096
MEMORY = 2 << 30  # bytes of address space of the reading process
_COMPUTING = 600  # seconds of CPU in all, should the parent be gone; each page has ``decode_seconds``
_POLL = 1.0
_HYPHEN = re.compile(r"\ufffe\n?|\u00ad\n?")


@dataclass(frozen=True, slots=True, eq=False)
class DocumentPage:
    """A page: its number, from 1; its text, perhaps empty; its picture, if one was asked for."""

    number: int
    text: str
    picture: Image | None


class _Record(msgspec.Struct):
    """What the process says."""

    error: str | None = None
    done: bool = False
    pages: int | None = None
    page: int = 0
    text: str = ""
    width: int = 0
    height: int = 0


def pdf_pages(
    source: Source, limits: Limits, *, side: int = SIDE, only: int | None = None
) -> Iterator[DocumentPage]:
    """The pages in order; those that are damaged are left out.

    Args:
        source: a PDF.
        limits: ``document_pages`` bounds the whole, ``decode_seconds`` each page, ``text_chars`` its text.
        side: longer side of the pictures in pixels, at most 4096; 0 for no pictures.
        only: the number of the one page that is wanted.

    Raises:
        UnsupportedMedia: encrypted (code ``encrypted``), damaged, or so that the reader crashes at it.
        TooLarge: more pages than allowed, or too slow to read.
        InvalidInput: there is no page ``only``.
    """
    order = {
        "first": only or 1,
        "last": only or limits.document_pages,
        "side": min(side, MAX_SIDE),
        "chars": limits.text_chars,
        "memory": MEMORY,
        "seconds": _COMPUTING,
    }
    with _opened(source, limits) as file:
        process = subprocess.Popen(
            [sys.executable, "-I", pdf_child.__file__, json.dumps(order)],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
    try:
        assert process.stdout is not None
        yield from _pages(_Reader(process.stdout, limits), limits, side=order["side"], only=only)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _opened(source: Source, limits: Limits) -> IO[bytes]:
    """A real file with the bytes of ``source``, for another process to read."""
    checked = open_source(source, limits)
    if isinstance(source, Path):
        return checked
    with checked:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        file.write(checked.read())
        file.seek(0)
        return file


def _pages(reader: "_Reader", limits: Limits, *, side: int, only: int | None) -> Iterator[DocumentPage]:
    head = reader.record()
    if head is None:
        raise _crashed(only or 1)
    if head.pages is None:
        raise _encrypted() if head.error == "password" else _damaged()
    _check_count(head.pages, limits, only)
    last = 0
    while not (record := reader.record() or _Record()).done:
        # The process may have been taken over by what it reads: its word is not trusted either.
        if not last < record.page <= head.pages or not 0 <= max(record.width, record.height) <= side:
            raise _crashed(last + 1)
        last = record.page
        pixels = reader.pixels(record.width, record.height)
        yield DocumentPage(record.page, _tidy(record.text), None if pixels is None else Image(pixels))
        reader.deadline.restart()
    if not last:
        raise _damaged()


def _check_count(pages: int, limits: Limits, only: int | None) -> None:
    if only is None and pages > limits.document_pages:
        raise TooLarge(
            f"expected a PDF of at most {limits.document_pages} pages (limits.document_pages), got {pages}",
            f"PDF 最多 {limits.document_pages} 页（limits.document_pages），实际为 {pages} 页",
        )
    if only is not None and not 1 <= only <= pages:
        raise InvalidInput(
            f"expected a page from 1 to {pages}, got {only}",
            f"页码应为 1 至 {pages}，实际为 {only}",
            param="page",
        )


def _tidy(text: str) -> str:
    """The text without what PDF puts between its lines: hyphens at line ends and control characters."""
    joined = _HYPHEN.sub("", text.replace("\r\n", "\n"))
    return "".join(c for c in joined if c.isprintable() or c in "\n\t")


def _encrypted() -> UnsupportedMedia:
    return UnsupportedMedia(
        "expected a PDF that opens without a password, got an encrypted one",
        "应为无需密码即可打开的 PDF，实际已加密",
        code="encrypted",
    )


def _damaged() -> UnsupportedMedia:
    return UnsupportedMedia(
        "expected an intact PDF, got one that cannot be read", "应为完好的 PDF，实际无法读取"
    )


def _crashed(page: int) -> UnsupportedMedia:
    return UnsupportedMedia(
        f"expected an intact PDF, got one whose page {page} needs too much memory or brings its reader down",
        f"应为完好的 PDF，实际第 {page} 页占用内存过多或使读取程序崩溃",
    )


class _Reader:
    """Records from a pipe without a buffer, before a deadline."""

    def __init__(self, pipe: IO[bytes], limits: Limits) -> None:
        self.deadline = Deadline(limits.decode_seconds)
        self._pipe = pipe
        self._most = 12 * limits.text_chars + 1024  # JSON writes a character in up to 12 bytes

    def record(self) -> _Record | None:
        """The next one; ``None`` when the process ended in the middle, or speaks nonsense."""
        size = self._bytes(4)
        length = int.from_bytes(size, "big")
        if len(size) < 4 or length > self._most:
            return None
        try:
            return msgspec.json.decode(self._bytes(length), type=_Record)
        except msgspec.MsgspecError:
            return None

    def pixels(self, width: int, height: int) -> NDArray[np.uint8] | None:
        """uint8 [height, width, 3]; ``None`` where there is no picture."""
        if width <= 0 or height <= 0:
            return None
        data = self._bytes(width * height * 3)
        return np.frombuffer(data, np.uint8).reshape(height, width, 3) if len(data) else None

    def _bytes(self, size: int) -> bytes:
        """So many; none if the process ended before."""
        got = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while len(got) < size:
                self.deadline.check()
                if selector.select(_POLL):
                    piece = self._pipe.read(size - len(got))
                    if not piece:
                        return b""
                    got += piece
        return bytes(got)
