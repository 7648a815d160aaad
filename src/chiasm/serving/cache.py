"""Results that were computed before, bounded in bytes; the least recently used goes first."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
ENTRY_OVERHEAD = 256  # bytes of bookkeeping for each entry, about


@dataclass(frozen=True, kw_only=True)
class CacheCounts:
    """How a cache has done so far."""

    entries: int
    bytes: int
    hits: int
    misses: int


class ResultCache:
    """Vectors by (content hash, model revision). Thread-safe. A bound of 0 keeps nothing."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[bytes, str], Vector] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._lock = threading.Lock()

    def get(self, content: bytes, revision: str) -> Vector | None:
        """The vector (read-only), or None."""
        with self._lock:
            vector = self._entries.get((content, revision))
            if vector is None:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end((content, revision))
            return vector

    def put(self, content: bytes, revision: str, vector: NDArray[Any]) -> None:
        """Keep a copy of ``vector``; what does not fit even alone is not kept."""
        key = (content, revision)
        kept = np.array(vector, dtype=np.float32)
        kept.flags.writeable = False
        size = _size(key, kept)
        if size > self._max_bytes:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._bytes -= _size(key, old)
            self._entries[key] = kept
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._bytes -= _size(*self._entries.popitem(last=False))

    def counts(self) -> CacheCounts:
        """Entries, bytes, hits and misses."""
        with self._lock:
            return CacheCounts(
                entries=len(self._entries), bytes=self._bytes, hits=self._hits, misses=self._misses
            )


def _size(key: tuple[bytes, str], vector: Vector) -> int:
    return ENTRY_OVERHEAD + len(key[0]) + len(key[1]) + vector.nbytes
