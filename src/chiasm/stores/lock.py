"""One process owns a data directory at a time; the others are told which one."""

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chiasm.errors import StoreError

LOCK_NAME = "lock"
ATTEMPTS = 10  # whoever asks who holds the lock has it for an instant, which must not make us fail
ATTEMPT_SECONDS = 0.03


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a data directory, and the address (if any) on which it answers."""

    pid: int
    address: str | None = None


class DataDirLock:
    """An exclusive lock on a data directory, freed by the kernel when the holder dies, however it dies.

    Args:
        data_dir: made if it does not exist.
        address: where the holder answers others, for :func:`holder_of`.
    """

    def __init__(self, data_dir: Path, *, address: str | None = None) -> None:
        self._path = data_dir / LOCK_NAME
        self._address = address
        self._handle: int | None = None

    def acquire(self) -> Self:
        """Take the lock now.

        Raises:
            StoreError: another process holds it (the message names its pid), or the folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"expected a data directory that can be written, got {self._path.parent}: {error.strerror}",
                f"数据目录应当可写，实际为 {self._path.parent}：{error.strerror}",
                param="library.data_dir",
            ) from error
        if not _locked(handle):
            os.close(handle)
            raise self._held()
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "address": self._address}).encode(), 0)
        self._handle = handle
        return self

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _held(self) -> StoreError:
        holder = _read(self._path)
        pid = holder.pid if holder else "?"
        return StoreError(
            f"expected a free data directory, got {self._path.parent}, which process {pid} is using; "
            "stop that process or choose another library.data_dir",
            f"数据目录 {self._path.parent} 正被进程 {pid} 占用；请先停止该进程，或另选 library.data_dir",
            param="library.data_dir",
            code="data_dir_locked",
        )


def _locked(handle: int) -> bool:
    for _ in range(ATTEMPTS):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(ATTEMPT_SECONDS)
        else:
            return True
    return False


def holder_of(data_dir: Path) -> Holder | None:
    """Who holds ``data_dir`` now, or ``None`` if nobody does."""
    try:
        handle = os.open(data_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(data_dir / LOCK_NAME)
    finally:
        os.close(handle)
    return None


def _read(path: Path) -> Holder | None:
    try:
        found = json.loads(path.read_bytes())
        return Holder(pid=int(found["pid"]), address=found.get("address"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
