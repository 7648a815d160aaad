"""Nearest neighbours by cosine among many: a graph proposes, exact cosines decide."""

import math
import threading
import time
from pathlib import Path

import numpy as np
import usearch.index
from numpy.typing import NDArray

from chiasm.stores import index_file
from chiasm.stores.vectors import SPARE, ExactIndex, Keys, Match, Vectors, checked_query

EXACT_UP_TO = 50_000  # an exact scan of this many takes 2 to 3 ms on one core, and needs no graph
FEW = 10_000  # to fetch so many allowed ones and compare with them takes as long as a search in the graph
DEARER = 4  # fetching from the graph pays while it fetches at most a fourth of what is allowed
ADD_AT_ONCE = 16  # so that a search waits for few insertions
MOVE_AT_ONCE = 4096  # until what is in the graph is no longer compared with exactly
PAUSE = 0.001  # seconds
GRAPH = {"connectivity": 32, "expansion_add": 192, "expansion_search": 192}  # see decision 0043


class UsearchIndex:
    """Exact while small; beyond that an HNSW graph proposes, and exact cosines decide.

    The graph is of int8 vectors and grows in a thread behind the searches, two thirds of a millisecond for a
    vector; what it lacks yet is compared with exactly. Filtered searches are exact when few are allowed, and
    otherwise fetch ever more from the graph until enough allowed ones have come.

    Args:
        exact_up_to: number of vectors beyond which the graph is built.
    """

    def __init__(self, dimensions: int, *, exact_up_to: int = EXACT_UP_TO) -> None:
        self.dimensions = dimensions
        self._exact_up_to = exact_up_to
        self._all = ExactIndex(dimensions)
        self._graph = usearch.index.Index(ndim=dimensions, metric="cos", dtype="i8", **GRAPH)
        self._fresh = ExactIndex(dimensions)  # what a large index has, and its graph has not yet
        self._lock = threading.Lock()  # the graph must not grow while it is searched
        self._changing = threading.RLock()  # for what is in the graph and what is not; taken before the other
        self._grower: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._all)

    def keys(self) -> Keys:
        return self._all.keys()

    def add(self, keys: Keys, vectors: Vectors) -> None:
        with self._changing:
            self._all.add(keys, vectors)
            if self._grower is not None or len(self._graph):
                self._fresh.add(keys, vectors)
            elif len(self._all) > self._exact_up_to:
                self._fresh.add(*self._all.vectors())
            self._grow_if_needed()

    def remove(self, keys: Keys) -> None:
        with self._changing:
            self._all.remove(keys)
            self._fresh.remove(keys)
            if len(keys):
                with self._lock:
                    self._graph.remove(np.asarray(keys, np.uint64))

    def settle(self) -> None:
        """Wait until all that was added is in the graph, if there is to be one."""
        grower = self._grower
        if grower is not None:
            grower.join()

    def search(self, query: Vectors, count: int, allowed: Keys | None = None) -> Match:
        wanted = checked_query(query, self.dimensions)
        few = min(FEW, self._exact_up_to)
        if not len(self._graph) or (allowed is not None and len(allowed) <= few):
            return self._all.search(wanted, count, allowed)
        # in this order: what moves from the first to the second meanwhile is found twice, not never
        fresh = self._fresh.search(wanted, count, allowed)
        return _merged(fresh, self._search_graph(wanted, count, allowed), count)

    def save(self, path: Path, sequence: int) -> None:
        with self._changing:
            self._all.save(path, sequence)
            if len(self._graph):
                with self._lock:
                    index_file.write(
                        _beside(path), b"usearch", sequence, lambda to: self._graph.save(str(to))
                    )
            else:
                _beside(path).unlink(missing_ok=True)

    def load(self, path: Path) -> int | None:
        sequence = self._all.load(path)
        if sequence is None:
            return None
        with self._changing:
            self._load_graph(_beside(path), sequence)
            if len(self._graph) or len(self._all) > self._exact_up_to:
                keys, rows = self._all.vectors()
                lacks = ~np.isin(keys, self._in_graph())
                self._fresh.add(keys[lacks], rows[lacks])
            self._grow_if_needed()
        return sequence

    def _load_graph(self, path: Path, sequence: int) -> None:
        """Take up the graph if it is not newer than the vectors; what is in it of others is dropped."""
        age = index_file.check(path, b"usearch")
        if age is None or age > sequence:
            return
        found = usearch.index.Index.metadata(str(path))
        if found is None or (found["dimensions"], found["kind_scalar"]) != (
            self.dimensions,
            self._graph.dtype,
        ):
            return
        self._graph.load(str(path))
        self._graph.expansion_search = GRAPH["expansion_search"]  # not among what is saved
        self._graph.expansion_add = GRAPH["expansion_add"]
        gone = np.setdiff1d(self._in_graph(), self._all.keys())
        if len(gone):
            self._graph.remove(gone)

    def _in_graph(self) -> Keys:
        return np.asarray(self._graph.keys[: len(self._graph)], dtype=np.uint64)

    def _grow_if_needed(self) -> None:
        if self._grower is None and len(self._fresh):
            self._grower = threading.Thread(target=self._grow, name="graph", daemon=True)
            self._grower.start()

    def _grow(self) -> None:
        """Put what is fresh into the graph, piece by piece, until nothing is left."""
        while True:
            with self._changing:
                keys, rows = self._fresh.vectors()
                if not len(keys):
                    self._grower = None
                    return
                keys, rows = keys[:MOVE_AT_ONCE], rows[:MOVE_AT_ONCE]
            for start in range(0, len(keys), ADD_AT_ONCE):
                self._insert(keys[start : start + ADD_AT_ONCE], rows[start : start + ADD_AT_ONCE])
                time.sleep(PAUSE)  # a lock is not fair: who waits for it would wait for all pieces
            with self._changing:
                self._fresh.remove(keys)

    def _insert(self, keys: Keys, rows: NDArray[np.float16]) -> None:
        with self._changing:
            stays = _among(keys, self._fresh.keys())  # the others were removed meanwhile
            with self._lock:
                self._graph.add(keys[stays], _int8(rows[stays]))

    def _search_graph(self, wanted: NDArray[np.float32], count: int, allowed: Keys | None) -> Match:
        if allowed is None:
            return self._all.search(wanted, count, self._nearest(wanted, count + SPARE))
        # so many are expected to hold enough allowed ones, if what is asked and what is allowed are unrelated
        fetch = math.ceil(2 * count * len(self._graph) / len(allowed))
        while DEARER * fetch < len(allowed):
            keys = self._nearest(wanted, fetch)
            keys = keys[_among(keys, allowed)]
            if len(keys) >= count:
                return self._all.search(wanted, count, keys)
            fetch *= 4
        return self._all.search(wanted, count, allowed)

    def _nearest(self, query: NDArray[np.float32], count: int) -> Keys:
        """Keys that the graph proposes, ascending."""
        with self._lock:
            if not len(self._graph):
                return np.empty(0, np.uint64)
            found = self._graph.search(_int8(query[None])[0], min(count, len(self._graph)))
        return np.sort(np.asarray(found.keys, dtype=np.uint64))


def _int8(rows: Vectors) -> NDArray[np.int8]:
    """Rows scaled so that the largest component of each is 127: their angles stay."""
    scaled = np.asarray(rows, np.float32)
    largest = np.abs(scaled).max(axis=1, keepdims=True)
    codes: NDArray[np.int8] = np.rint(scaled * (127 / np.maximum(largest, 1e-30))).astype(np.int8)
    return codes


def _merged(first: Match, second: Match, count: int) -> Match:
    """The best of two matches; a key may be in both."""
    keys, places = np.unique(np.concatenate([first.keys, second.keys]), return_index=True)
    cosines = np.concatenate([first.cosines, second.cosines])[places]
    best = np.lexsort((keys, -cosines))[:count]
    return Match(keys=keys[best], cosines=cosines[best])


def _beside(path: Path) -> Path:
    return path.with_suffix(".graph")


def _among(keys: Keys, allowed: Keys) -> NDArray[np.bool_]:
    """Which of these keys are among ascending ones."""
    if not len(allowed):
        return np.zeros(len(keys), bool)
    places = np.searchsorted(allowed, keys)
    found: NDArray[np.bool_] = allowed[np.minimum(places, len(allowed) - 1)] == keys
    return found
