"""Nearest neighbours by cosine: one interface, an exact implementation and an approximate one.

An index is a cache: keys are segment ids of the SQL store, which never change their vector and are never
given twice, so comparing key sets is enough to bring an index up to date.
"""

import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import usearch.index
from numpy.typing import NDArray

from chiasm.errors import InvalidInput
from chiasm.stores import index_file

Keys = NDArray[np.uint64]
Vectors = NDArray[np.floating]
EXACT_UP_TO = 20_000  # an exact scan of this many takes 2 to 5 ms on one core, and needs no graph
DEARER = 4  # fetching from the graph pays while it fetches at most a fourth of what is allowed
ADD_AT_ONCE = 64  # so that a search waits for few insertions
MOVE_AT_ONCE = 4096  # until what has moved is dropped from what is compared with exactly
PAUSE = 0.001  # seconds


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
    """Compares with everything; vectors are held as float32 rows."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._lock = threading.Lock()  # for what belongs together: keys, rows and how many are used
        self._keys: Keys = np.empty(0, np.uint64)
        self._rows: NDArray[np.float32] = np.empty((0, dimensions), np.float32)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def keys(self) -> Keys:
        return np.sort(self.vectors()[0])

    def vectors(self) -> tuple[Keys, NDArray[np.float32]]:
        """Keys [n] and their rows [n, dimensions], in the order of arrival."""
        with self._lock:
            return self._keys[: self._used], self._rows[: self._used]

    def add(self, keys: Keys, vectors: Vectors) -> None:
        rows = _rows(vectors, self.dimensions, len(keys))
        needed = self._used + len(keys)
        all_keys, all_rows = self._keys, self._rows
        if needed > len(all_keys):
            capacity = max(needed, 2 * len(all_keys), 64)
            all_keys = np.zeros(capacity, np.uint64)
            all_rows = np.zeros((capacity, self.dimensions), np.float32)
            all_keys[: self._used], all_rows[: self._used] = self.vectors()
        all_keys[self._used : needed] = keys
        all_rows[self._used : needed] = rows
        with self._lock:
            self._keys, self._rows, self._used = all_keys, all_rows, needed

    def remove(self, keys: Keys) -> None:
        all_keys, all_rows = self.vectors()
        stays = ~np.isin(all_keys, keys)
        with self._lock:
            self._keys, self._rows, self._used = all_keys[stays], all_rows[stays], int(stays.sum())

    def search(self, query: Vectors, count: int, allowed: Keys | None = None) -> Match:
        keys, rows = self.vectors()
        if allowed is not None:
            chosen = _among(keys, allowed)
            keys, rows = keys[chosen], rows[chosen]
        return _best(keys, rows, _query(query, self.dimensions), count)

    def save(self, path: Path, sequence: int) -> None:
        def dump(to: Path) -> None:
            with to.open("wb") as out:
                keys, rows = self.vectors()
                np.savez(out, keys=keys, rows=rows.astype(np.float16))

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


class UsearchIndex:
    """Exact while small, then an HNSW graph of float16 vectors that grows behind the searches.

    New vectors are compared with exactly, until a thread has put them into the graph, which takes that about
    half a millisecond each. Filtered searches are exact when few are allowed, and otherwise fetch ever more
    from the graph until enough allowed ones have come.

    Args:
        exact_up_to: number of vectors beyond which the graph is built.
    """

    def __init__(self, dimensions: int, *, exact_up_to: int = EXACT_UP_TO) -> None:
        self.dimensions = dimensions
        self._exact_up_to = exact_up_to
        self._fresh = ExactIndex(dimensions)  # what is not in the graph yet
        self._graph = self._new_graph()
        self._lock = threading.Lock()  # the graph must not grow while it is searched
        self._changing = threading.RLock()  # for what is in the graph and what is not; taken before the other
        self._removed: set[int] = set()  # while a piece is on its way into the graph
        self._grower: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self.keys())

    def keys(self) -> Keys:
        with self._changing, self._lock:
            in_graph = np.asarray(self._graph.keys[: len(self._graph)], dtype=np.uint64)
            return np.union1d(in_graph, self._fresh.keys())

    def add(self, keys: Keys, vectors: Vectors) -> None:
        with self._changing:
            self._fresh.add(keys, vectors)
            if self._grower is None and self._is_large():
                self._grower = threading.Thread(target=self._grow, name="graph", daemon=True)
                self._grower.start()

    def remove(self, keys: Keys) -> None:
        with self._changing:
            self._fresh.remove(keys)
            self._removed.update(keys.tolist())
            if len(keys):
                with self._lock:
                    self._graph.remove(np.asarray(keys, np.uint64))

    def settle(self) -> None:
        """Wait until all that was added is in the graph, if there is to be one."""
        grower = self._grower
        if grower is not None:
            grower.join()

    def search(self, query: Vectors, count: int, allowed: Keys | None = None) -> Match:
        wanted = _query(query, self.dimensions)
        # in this order: what moves from the first to the second meanwhile is found twice, not never
        fresh = self._fresh.search(wanted, count, allowed)
        if not len(self._graph):
            return fresh
        return _merged(fresh, self._search_graph(wanted, count, allowed), count)

    def save(self, path: Path, sequence: int) -> None:
        with self._changing:
            if not len(self._graph):
                self._fresh.save(path, sequence)
                return
            self._fresh.save(_beside(path), sequence)
            with self._lock:
                index_file.write(path, b"usearch", sequence, lambda to: self._graph.save(str(to)))

    def load(self, path: Path) -> int | None:
        sequence = index_file.check(path, b"usearch")
        if sequence is None:
            return self._fresh.load(path)
        found = usearch.index.Index.metadata(str(path))
        if found is None or found["dimensions"] != self.dimensions:
            return None
        self._graph.load(str(path))
        fresh = self._fresh.load(_beside(path))
        self._fresh.remove(
            np.asarray(self._graph.keys[: len(self._graph)], dtype=np.uint64)
        )  # had just moved
        return sequence if fresh == sequence else 0  # without what was fresh it is older than it says

    def _is_large(self) -> bool:
        return len(self._graph) + len(self._fresh) > self._exact_up_to

    def _grow(self) -> None:
        """Put what is fresh into the graph, piece by piece, until nothing is left."""
        while True:
            with self._changing:
                keys, rows = self._fresh.vectors()
                if not len(keys):
                    self._grower = None
                    return
                keys, rows = keys[:MOVE_AT_ONCE], rows[:MOVE_AT_ONCE]
                self._removed = set()
            for start in range(0, len(keys), ADD_AT_ONCE):
                self._insert(keys[start : start + ADD_AT_ONCE], rows[start : start + ADD_AT_ONCE])
                time.sleep(PAUSE)  # a lock is not fair: who waits for it would wait for all pieces
            with self._changing:
                self._fresh.remove(keys)

    def _insert(self, keys: Keys, rows: NDArray[np.float32]) -> None:
        with self._changing:
            stays = np.array([key not in self._removed for key in keys.tolist()])
            with self._lock:
                self._graph.add(np.asarray(keys[stays], np.uint64), rows[stays])

    def _search_graph(self, wanted: NDArray[np.float32], count: int, allowed: Keys | None) -> Match:
        if allowed is None:
            return self._rescored(self._nearest(wanted, count), wanted, count)
        # so many are expected to hold enough allowed ones, if what is asked and what is allowed are unrelated
        fetch = math.ceil(2 * count * len(self._graph) / max(1, len(allowed)))
        while fetch < self._exact_up_to and DEARER * fetch < len(allowed):
            keys = self._nearest(wanted, fetch)
            keys = keys[_among(keys, allowed)]
            if len(keys) >= count:
                return self._rescored(keys, wanted, count)
            fetch *= 4
        return self._scan(allowed, wanted, count)

    def _new_graph(self) -> "usearch.index.Index":
        return usearch.index.Index(ndim=self.dimensions, metric="cos", dtype="f16")

    def _nearest(self, query: NDArray[np.float32], count: int) -> Keys:
        if not len(self._graph):
            return np.empty(0, np.uint64)
        with self._lock:
            found = self._graph.search(query, min(count, len(self._graph)))
        return np.asarray(found.keys, dtype=np.uint64)

    def _rescored(self, keys: Keys, query: NDArray[np.float32], count: int) -> Match:
        """Exact cosines of these keys, those that are not in the index left out."""
        if not len(keys):
            return Match(keys=np.empty(0, np.uint64), cosines=np.empty(0, np.float32))
        with self._lock:
            found = self._graph.get(np.asarray(keys, np.uint64))
        present = [i for i, row in enumerate(found) if row is not None]
        rows = np.array([found[i] for i in present], np.float32).reshape(len(present), self.dimensions)
        return _best(np.asarray(keys)[present], rows, query, count)

    def _scan(self, allowed: Keys, query: NDArray[np.float32], count: int) -> Match:
        """Exact over many, in pieces that fit the memory."""
        pieces = [
            self._rescored(allowed[start : start + self._exact_up_to], query, count)
            for start in range(0, max(len(allowed), 1), max(self._exact_up_to, 1))
        ]
        keys = np.concatenate([piece.keys for piece in pieces])
        cosines = np.concatenate([piece.cosines for piece in pieces])
        order = np.argsort(-cosines, kind="stable")[:count]
        return Match(keys=keys[order], cosines=cosines[order])


def _merged(first: Match, second: Match, count: int) -> Match:
    """The best of two matches; a key may be in both."""
    keys, places = np.unique(np.concatenate([first.keys, second.keys]), return_index=True)
    cosines = np.concatenate([first.cosines, second.cosines])[places]
    best = np.lexsort((keys, -cosines))[:count]
    return Match(keys=keys[best], cosines=cosines[best])


def _beside(path: Path) -> Path:
    return path.with_suffix(".fresh")


def _among(keys: Keys, allowed: Keys) -> NDArray[np.bool_]:
    """Which of these keys are among ascending ones."""
    if not len(allowed):
        return np.zeros(len(keys), bool)
    places = np.searchsorted(allowed, keys)
    found: NDArray[np.bool_] = allowed[np.minimum(places, len(allowed) - 1)] == keys
    return found


def _best(keys: Keys, rows: NDArray[np.float32], query: NDArray[np.float32], count: int) -> Match:
    cosines = rows @ query
    top = np.argpartition(-cosines, count)[:count] if count < len(cosines) else np.arange(len(cosines))
    top = top[np.lexsort((keys[top], -cosines[top]))]
    return Match(keys=keys[top], cosines=cosines[top])


def _rows(vectors: Vectors, dimensions: int, count: int) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.shape != (count, dimensions):
        raise InvalidInput(
            f"expected vectors of shape [{count}, {dimensions}], got {list(rows.shape)}",
            f"向量形状应为 [{count}, {dimensions}]，实际为 {list(rows.shape)}",
        )
    return rows


def _query(query: Vectors, dimensions: int) -> NDArray[np.float32]:
    row: NDArray[np.float32] = _rows(np.asarray(query)[None], dimensions, 1)[0]
    return row
