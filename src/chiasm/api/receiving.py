"""A request's body on its way in: bounded in bytes, in time, and in what it takes of memory and disk."""

import asyncio
import io
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from chiasm.api.bodies import body_too_large
from chiasm.api.context import upload_slots
from chiasm.errors import ChiasmError, DeadlineExceeded
from chiasm.settings import Limits
from chiasm.stores.trouble import unwritable

MEMORY_BYTES = 1 << 20  # a longer body goes to disk
TOTAL_MEMORY_BYTES = 32 << 20  # and any body, while so much of others is held
LEAST_SPEED = 1 << 16  # bytes a second that a body may count on after the deadline


@dataclass(kw_only=True)
class Received:
    """What came: ``complete`` and in ``file``, or ``refusal`` says why not, or the client has left."""

    file: IO[bytes] = field(default_factory=io.BytesIO)
    complete: bool = False
    abandoned: bool = False
    refusal: ChiasmError | None = None
    held: int = 0
    has_slot: bool = False


class Receiver:
    """Takes bodies in, on one event loop.

    Args:
        limits: ``body_bytes`` of a form, ``json_bytes`` of anything else, ``uploads`` of a size for the disk.
        folder: for bodies on disk.
        seconds: that a body may take; a long one gets more, in proportion to what has come.
    """

    def __init__(self, limits: Limits, folder: Path, seconds: float) -> None:
        self._limits = limits
        self._folder = folder
        self._seconds = seconds
        self._slots = upload_slots(limits)
        self._held = 0

    @asynccontextmanager
    async def receive(
        self, chunks: AsyncIterator[bytes] | None, headers: Mapping[str, str]
    ) -> AsyncIterator[Received]:
        """The body of one request, for as long as the request is answered."""
        body = Received(complete=chunks is None)
        try:
            if chunks is not None:
                try:
                    await self._fill(body, chunks, headers)
                except ChiasmError as error:
                    body.refusal = error
            yield body
        finally:
            self._held -= body.held
            body.file.close()
            if body.has_slot:
                self._slots.give_back()

    async def _fill(self, body: Received, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        limit, setting = self._limit(headers)
        announced = headers.get("content-length", "")
        expected = int(announced) if announced.isdecimal() else None
        if expected is not None and expected > limit:
            raise body_too_large(limit, setting)
        size, begun = 0, time.monotonic()
        while (chunk := await self._next(chunks, begun + size / LEAST_SPEED)) is not None:
            size += len(chunk)
            if size > limit:
                raise body_too_large(limit, setting)
            self._keep(body, chunk, size)
        if expected is not None and size < expected:
            body.abandoned = True
            return
        body.file.seek(0)
        body.complete = True

    def _limit(self, headers: Mapping[str, str]) -> tuple[int, str]:
        if headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return self._limits.body_bytes, "limits.body_bytes"
        return self._limits.json_bytes, "limits.json_bytes"

    async def _next(self, chunks: AsyncIterator[bytes], begun: float) -> bytes | None:
        left = begun + self._seconds - time.monotonic()
        try:
            async with asyncio.timeout(left):
                return await anext(chunks)  # given a default, anext() crashes on granian's awaitable
        except StopAsyncIteration:
            return None
        except TimeoutError:
            raise DeadlineExceeded(
                f"expected the whole body within {self._seconds:g} s (server.deadline), or at least "
                f"{LEAST_SPEED} bytes a second; it came more slowly",
                f"请求体应在 {self._seconds:g} 秒内收齐（server.deadline），或不慢于每秒 {LEAST_SPEED} 字节",
            ) from None

    def _keep(self, body: Received, chunk: bytes, size: int) -> None:
        on_disk = not isinstance(body.file, io.BytesIO)
        if not on_disk and (size > MEMORY_BYTES or self._held + len(chunk) > TOTAL_MEMORY_BYTES):
            self._move_to_disk(body)
            on_disk = True
        try:
            body.file.write(chunk)
        except OSError as error:
            raise unwritable(self._folder, error) from error
        if not on_disk:
            body.held += len(chunk)
            self._held += len(chunk)

    def _move_to_disk(self, body: Received) -> None:
        self._slots.take()
        body.has_slot = True
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            in_memory, body.file = body.file, _open_file(self._folder)
            in_memory.seek(0)
            body.file.write(in_memory.read())
        except OSError as error:
            raise unwritable(self._folder, error) from error
        self._held -= body.held
        body.held = 0


def _open_file(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)  # for as long as its request
