"""What every decoder shares: a deadline, a source of bytes, and one way out for foreign errors."""

import io
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from chiasm.errors import ChiasmError, InvalidInput, NotFound, TooLarge, UnsupportedMedia
from chiasm.media.types import HEAD_BYTES
from chiasm.settings import Limits

Source = bytes | Path


class Deadline:
    """Wall-clock time that decoding may take.

    Args:
        seconds: from now, and again from each :meth:`restart`.
        clock: seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Begin to count anew."""
        self._end = self._clock() + self._seconds

    def check(self) -> None:
        """Raises TooLarge once the time is over."""
        if self._clock() > self._end:
            raise TooLarge(
                f"expected a file that decodes within {self._seconds:g} s, got one that takes longer",
                f"应为 {self._seconds:g} 秒内可解码的文件，实际耗时更长",
                code="decode_timeout",
            )


@contextmanager
def decoding(en: str, zh: str) -> Iterator[None]:
    """Whatever a decoder raises on hostile bytes leaves as UnsupportedMedia or TooLarge.

    Args:
        en: what was being decoded: ``PNG picture``.
        zh: the same in Chinese.
    """
    try:
        yield
    except ChiasmError:
        raise
    except MemoryError as error:
        raise TooLarge(
            f"expected a {en} that fits in memory, got a larger one", f"{zh}过大，内存无法容纳"
        ) from error
    except Exception as error:
        raise UnsupportedMedia(
            f"expected an intact {en}, got one that cannot be decoded: {_reason(error)}",
            f"应为完好的{zh}，实际无法解码：{_reason(error)}",
        ) from error


def _reason(error: Exception) -> str:
    """What went wrong, without FFmpeg's numbers and the name of a file that has none."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class Guarded(io.RawIOBase):
    """A seekable stream for a demuxer that stops at the deadline, however the demuxer loops."""

    def __init__(self, raw: BinaryIO, deadline: Deadline) -> None:
        self._raw = raw
        self._deadline = deadline

    def read(self, size: int = -1) -> bytes:
        """As usual, or TooLarge."""
        self._deadline.check()
        return self._raw.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As usual, or TooLarge."""
        self._deadline.check()
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """As usual."""
        return self._raw.tell()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Close what lies beneath."""
        self._raw.close()
        super().close()


def open_source(source: Source, limits: Limits) -> BinaryIO:
    """The bytes as a stream.

    Raises:
        NotFound: no such file.
        InvalidInput: something that is not a regular file, or that may not be read.
        TooLarge: more than ``limits.file_bytes``.
    """
    if isinstance(source, bytes):
        _check_size(len(source), limits)
        return io.BytesIO(source)
    try:
        # without O_NONBLOCK, opening a pipe would wait for a writer
        descriptor = os.open(source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise NotFound(
            f"expected a file, got {source}, which does not exist", f"文件 {source} 不存在"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"expected a readable file, got {source}: {error}", f"无法读取 {source}：{error}"
        ) from error
    status = os.fstat(descriptor)
    try:
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInput(f"expected a regular file, got {source}", f"应为普通文件，实际为 {source}")
        _check_size(status.st_size, limits)
    except ChiasmError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def head_of(source: Source, limits: Limits) -> bytes:
    """The first bytes, for ``sniff``; raises as :func:`open_source`."""
    with open_source(source, limits) as file:
        return file.read(HEAD_BYTES)


def bytes_of(source: Source, limits: Limits) -> bytes:
    """All bytes; raises as :func:`open_source`."""
    with open_source(source, limits) as file:
        data = file.read(limits.file_bytes + 1)
    _check_size(len(data), limits)
    return data


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.file_bytes:
        raise TooLarge(
            f"expected at most {limits.file_bytes} bytes, got {size}",
            f"文件最多 {limits.file_bytes} 字节，实际为 {size} 字节",
        )
