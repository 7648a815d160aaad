"""The audit log: one JSON line an event, in a file that several processes append to, rotated by size."""

import fcntl
import logging
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

logger = logging.getLogger(__name__)

FILE = "audit.jsonl"
LOCK = "audit.lock"
KEPT_LINES = 10_000  # while nothing can be written


class AuditLog:
    """Lines go out in a thread of their own, so that no request waits for the disk. Thread-safe.

    Args:
        folder: where the log lies.
        max_bytes: of a file; then it is renamed to ``audit.jsonl.1``, that to ``.2``, and so on.
        files: kept, with the one that is written to.
    """

    def __init__(self, folder: Path, *, max_bytes: int, files: int) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._max_bytes = max_bytes
        self._files = max(1, files)
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def write(self, event: Mapping[str, Any]) -> None:
        """Have a line written; returns at once."""
        self._lines.put(msgspec.json.encode(event) + b"\n")

    def close(self) -> None:
        """Write what is left. A second call does nothing."""
        self._lines.put(None)
        self._thread.join()

    def __enter__(self) -> "AuditLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        waiting: list[bytes] = []
        ended = False
        while not ended:
            ended = self._take(waiting)
            try:
                self._append(waiting)
            except OSError as error:
                logger.error("%d lines of the audit log wait: %s", len(waiting), error)
                del waiting[:-KEPT_LINES]

    def _take(self, waiting: list[bytes]) -> bool:
        """The next line and all behind it; whether that was the end."""
        line = self._lines.get()
        while line is not None:
            waiting.append(line)
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return False
        return True

    def _append(self, lines: list[bytes]) -> None:
        """Write ``lines`` and forget those that are written."""
        if not lines:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            size = self._path.stat().st_size if self._path.exists() else 0
            written = 0
            try:
                for line in lines:
                    if size and size + len(line) > self._max_bytes:
                        self._rotate()
                        size = 0
                    size += self._put(line)
                    written += 1
            finally:
                del lines[:written]

    def _put(self, line: bytes) -> int:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as opened:
            return opened.write(line)

    def _rotate(self) -> None:
        """Every file one further; what would be one too many is overwritten."""
        for number in reversed(range(self._files - 1)):
            older = self._path.with_name(f"{FILE}.{number}" if number else FILE)
            if older.exists():
                older.replace(self._path.with_name(f"{FILE}.{number + 1}"))
        if self._files == 1:
            self._path.unlink()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process writes or rotates meanwhile."""
        handle = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
