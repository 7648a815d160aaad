"""Files kept by their content: a name is the sha256 of the bytes, so equal files are stored once."""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from chiasm.errors import InvalidInput, NotFound, TooLarge
from chiasm.stores.trouble import unwritable

CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class StoredBytes:
    """What a piece of content is known by."""

    sha256: str
    size: int


class Files(Protocol):
    """What the library asks of a place for files."""

    def put(self, source: bytes | Path | BinaryIO | Iterable[bytes]) -> StoredBytes:
        """Keep these bytes, durably."""
        ...

    def has(self, sha256: str) -> bool:
        """Whether this content is kept."""
        ...

    def existing(self, sha256: str) -> Path:
        """Where the content of this hash lies, at least for the next minute.

        Raises:
            NotFound: it is not kept.
        """
        ...

    def remove(self, sha256: str) -> None:
        """Forget this content, if it is kept."""
        ...


class FileStore:
    """A directory of content-addressed files: ``ab/cdef…``.

    Args:
        root: the directory; made if missing.
        max_bytes: bound on one file, held while its bytes come in.
        own: whether this is the process that writes here; others only read, and change nothing.
    """

    def __init__(self, root: Path, *, max_bytes: int, own: bool = True) -> None:
        self.root = root
        self._max_bytes = max_bytes
        self._incoming = root / "incoming"
        if not own:
            return
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(root, error) from error
        for left_over in self._incoming.iterdir():
            left_over.unlink(missing_ok=True)

    def put(self, source: bytes | Path | BinaryIO | Iterable[bytes]) -> StoredBytes:
        """Keep these bytes: on return they are on the disk (fsync), under their hash.

        Raises:
            TooLarge: more than ``max_bytes``; nothing is kept.
            StoreError: the disk refused.
        """
        digest = hashlib.sha256()
        size = 0
        try:
            handle, temporary = tempfile.mkstemp(dir=self._incoming)
        except OSError as error:
            raise unwritable(self.root, error) from error
        try:
            with os.fdopen(handle, "wb") as out:
                for chunk in _chunks(source):
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise _too_large(self._max_bytes)
                    digest.update(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            stored = StoredBytes(sha256=digest.hexdigest(), size=size)
            self._settle(Path(temporary), self.path(stored.sha256))
        except OSError as error:
            raise unwritable(self.root, error) from error
        finally:
            Path(temporary).unlink(missing_ok=True)
        return stored

    def path(self, sha256: str) -> Path:
        """Where the content of this hash lies or would lie."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise InvalidInput(
                f"expected a sha256 in hex, got {sha256!r}", f"应为十六进制 sha256，实际为 {sha256!r}"
            )
        return self.root / sha256[:2] / sha256[2:]

    def has(self, sha256: str) -> bool:
        """Whether the content of this hash is here."""
        return self.path(sha256).is_file()

    def existing(self, sha256: str) -> Path:
        """Where the content of this hash lies.

        Raises:
            NotFound: it is not here.
        """
        path = self.path(sha256)
        if not path.is_file():
            raise NotFound(f"the content {sha256[:12]}… is not stored here", f"此处没有内容 {sha256[:12]}…")
        return path

    def remove(self, sha256: str) -> None:
        """Forget this content, if it is here."""
        self.path(sha256).unlink(missing_ok=True)

    def contents(self) -> list[tuple[str, int]]:
        """Hash and size of everything that is here, what was written first at first."""
        found = [(path, path.stat()) for path in self.root.glob("[0-9a-f][0-9a-f]/*")]
        found.sort(key=lambda pair: pair[1].st_mtime_ns)
        return [(path.parent.name + path.name, status.st_size) for path, status in found]

    def _settle(self, temporary: Path, final: Path) -> None:
        if final.is_file():
            return
        final.parent.mkdir(exist_ok=True)
        os.replace(temporary, final)
        sync_folder(final.parent)
        sync_folder(self.root)


def hash_file(path: Path, *, max_bytes: int) -> StoredBytes:
    """The hash and size of a file that lies elsewhere.

    Raises:
        TooLarge: more than ``max_bytes``.
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    for chunk in _chunks(path):
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        digest.update(chunk)
    return StoredBytes(sha256=digest.hexdigest(), size=size)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _chunks(source: bytes | Path | BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with source.open("rb") as opened:
            yield from _read(opened)
    elif isinstance(source, io.IOBase | tempfile.SpooledTemporaryFile):
        yield from _read(cast(BinaryIO, source))
    else:
        yield from source


def _read(opened: BinaryIO) -> Iterator[bytes]:
    while chunk := opened.read(CHUNK):
        yield chunk


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"expected a file of at most {max_bytes:,} bytes (limits.file_bytes), got a larger one",
        f"文件不得超过 {max_bytes:,} 字节（limits.file_bytes），实际更大",
    )
