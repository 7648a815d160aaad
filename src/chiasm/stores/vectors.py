"""Nearest neighbours by cosine: what every index can do, and the one that compares with everything.

An index is a cache: keys are segment ids of the SQL store, which never change their vector and are never
given twice, so comparing key sets is enough to bring an index up to date.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numkong
import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput
from chiasm.stores import index_file

Keys = NDArray[np.uint64]
Vectors = NDArray[np.floating]
SPARE = 16  # more than asked for, so that half precision of the query costs none of the best


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """What was found, best first: ``keys`` uint64 [k] and ``cosines`` float32 [k]."""

    keys: Keys
    cosines: NDArray[np.float32]


class VectorIndex(Protocol):
    """What the library asks of an index. One thread changes it at a time; any may search meanwhile."""

    dimensions: int

    def __len__(self) -> int: ...

    def keys(self) -> Keys:
        """All keys, ascending."""
        ...

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """Add unit rows [n, dimensions] under new keys."""
        ...

    def remove(self, keys: Keys) -> None:
        """Forget these keys; unknown ones are ignored."""
        ...

    def search(self, query: Vectors, count: int, allowed: Keys | None = None) -> Match:
        """The ``count`` best for ``query`` [dimensions], among ``allowed`` (ascending) if given."""
        ...

    def save(self, path: Path, sequence: int) -> None:
        """Write everything, atomically."""
        ...

    def load(self, path: Path) -> int | None:
        """Read what ``save`` wrote; its sequence, or ``None`` (and still empty) if it cannot be used."""
        ...


class ExactIndex:
    """Compares with everything; vectors are held as float16 rows, by ascending key."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._lock = (
            threading.Lock()
        )  # for what belongs together: keys, rows, which are there, how many are used
        self._keys: Keys = np.empty(0, np.uint64)
        self._rows: NDArray[np.float16] = np.empty((0, dimensions), np.float16)
        self._there: NDArray[np.bool_] = np.empty(0, bool)
        self._used = 0
        self._gone = 0  # how many of the used ones are not there any more

    def __len__(self) -> int:
        return self._used - self._gone

    def keys(self) -> Keys:
        keys, _, there = self._all()
        return keys[there]

    def vectors(self) -> tuple[Keys, NDArray[np.float16]]:
        """Keys [n], ascending, and their rows [n, dimensions]."""
        keys, rows, there = self._all()
        return keys[there], rows[there]

    def add(self, keys: Keys, vectors: Vectors) -> None:
        rows = checked_rows(vectors, self.dimensions, len(keys)).astype(np.float16)
        keys = np.asarray(keys, np.uint64)
        last = self._keys[self._used - 1 : self._used]
        if (np.diff(np.concatenate([last, keys]).astype(np.int64)) <= 0).any():
            had, had_rows = self.vectors()
            keys, rows = np.concatenate([had, keys]), np.concatenate([had_rows, rows])
            order = np.argsort(keys, kind="stable")
            self._replace(keys[order], rows[order])
        else:
            self._append(keys, rows)

    def remove(self, keys: Keys) -> None:
        all_keys, _, there = self._all()
        places = _places(all_keys, np.asarray(keys, np.uint64))
        places = np.unique(places[there[places]]) if len(places) else places
        there[places] = False
        self._gone += len(places)
        if self._gone > max(64, self._used // 4):
            self._replace(*self.vectors())

    def search(self, query: Vectors, count: int, allowed: Keys | None = None) -> Match:
        wanted = checked_query(query, self.dimensions)
        keys, rows, there = self._all()
        if allowed is not None:
            places = _places(keys, allowed)
            keys, rows, there = keys[places], rows[places], there[places]
        if not there.any():
            return Match(keys=np.empty(0, np.uint64), cosines=np.empty(0, np.float32))
        # asked for float32 it would take a path twenty times slower
        cosines = np.asarray(numkong.cdist(wanted[None].astype(np.float16), rows, "dot"))[0].astype(
            np.float32
        )
        cosines[~there] = -np.inf
        near, there_count = count + SPARE, int(there.sum())
        top = np.argpartition(-cosines, near)[:near] if near < there_count else np.flatnonzero(there)
        cosines = rows[top].astype(np.float32) @ wanted
        best = np.lexsort((keys[top], -cosines))[:count]
        return Match(keys=keys[top][best], cosines=cosines[best])

    def save(self, path: Path, sequence: int) -> None:
        def dump(to: Path) -> None:
            with to.open("wb") as out:
                keys, rows = self.vectors()
                np.savez(out, keys=keys, rows=rows)

        index_file.write(path, b"exact", sequence, dump)

    def load(self, path: Path) -> int | None:
        sequence = index_file.check(path, b"exact")
        if sequence is None:
            return None
        with np.load(path, allow_pickle=False) as found:
            keys, rows = found["keys"], found["rows"]
        if rows.ndim != 2 or rows.shape[1] != self.dimensions:
            return None
        self.add(keys, rows)
        return sequence

    def _all(self) -> tuple[Keys, NDArray[np.float16], NDArray[np.bool_]]:
        """Keys, rows, and which of them are there."""
        with self._lock:
            used = self._used
            return self._keys[:used], self._rows[:used], self._there[:used]

    def _append(self, keys: Keys, rows: NDArray[np.float16]) -> None:
        needed = self._used + len(keys)
        all_keys, all_rows, there = self._keys, self._rows, self._there
        if needed > len(all_keys):
            more = max(needed, 2 * len(all_keys), 64) - len(all_keys)
            all_keys = np.concatenate([all_keys, np.zeros(more, np.uint64)])
            all_rows = np.concatenate([all_rows, np.zeros((more, self.dimensions), np.float16)])
            there = np.concatenate([there, np.ones(more, bool)])
        all_keys[self._used : needed] = keys
        all_rows[self._used : needed] = rows
        with self._lock:
            self._keys, self._rows, self._there, self._used = all_keys, all_rows, there, needed

    def _replace(self, keys: Keys, rows: NDArray[np.float16]) -> None:
        with self._lock:
            self._keys, self._rows, self._there = keys, rows, np.ones(len(keys), bool)
            self._used, self._gone = len(keys), 0


def _places(keys: Keys, wanted: Keys) -> NDArray[np.int64]:
    """Where these are among ascending keys; those that are not are left out."""
    if not len(keys):
        return np.empty(0, np.int64)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: NDArray[np.int64] = places[keys[places] == wanted]
    return found


def checked_rows(vectors: Vectors, dimensions: int, count: int) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.shape != (count, dimensions):
        raise InvalidInput(
            f"expected vectors of shape [{count}, {dimensions}], got {list(rows.shape)}",
            f"向量形状应为 [{count}, {dimensions}]，实际为 {list(rows.shape)}",
        )
    return rows


def checked_query(query: Vectors, dimensions: int) -> NDArray[np.float32]:
    row: NDArray[np.float32] = checked_rows(np.asarray(query)[None], dimensions, 1)[0]
    return row
