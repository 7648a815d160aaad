"""The envelope of an index on disk: payload, then a trailer that proves it whole and says how old it is."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from chiasm.stores.files import CHUNK, sync_folder

MAGIC = b"chiasm01"
TRAILER = struct.Struct("<8s8sQQI")  # magic, kind, sequence, payload length, crc32 of the payload


def write(path: Path, kind: bytes, sequence: int, dump: Callable[[Path], None]) -> None:
    """Replace ``path`` atomically: after a crash there is the old file or the new one, never a mixture.

    Args:
        kind: up to 8 bytes that say what the payload is.
        sequence: the state of the SQL store that the payload reflects.
        dump: writes the payload to the file it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        dump(temporary)
        length, crc = _checksum(temporary, temporary.stat().st_size)
        with temporary.open("ab") as out:
            out.write(TRAILER.pack(MAGIC, kind.ljust(8), sequence, length, crc))
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # on a full disk it would take the last of the room
    sync_folder(path.parent)


def check(path: Path, kind: bytes) -> int | None:
    """The sequence number of a whole file of this kind; ``None`` for a missing, torn or foreign one."""
    try:
        size = path.stat().st_size - TRAILER.size
        if size < 0:
            return None
        with path.open("rb") as opened:
            opened.seek(size)
            magic, found_kind, sequence, length, crc = TRAILER.unpack(opened.read(TRAILER.size))
        if (magic, found_kind.rstrip(), length) != (MAGIC, kind, size):
            return None
        return int(sequence) if _checksum(path, size) == (size, crc) else None
    except OSError:
        return None


def _checksum(path: Path, size: int) -> tuple[int, int]:
    crc, left = 0, size
    with path.open("rb") as opened:
        while left and (chunk := opened.read(min(CHUNK, left))):
            crc = zlib.crc32(chunk, crc)
            left -= len(chunk)
    return size - left, crc
