"""The vector indexes of all stores: opened when needed, brought up to date from SQL, saved at leisure."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chiasm.stores import Change, Segments, StoreRecord, UsearchIndex, VectorIndex

logger = logging.getLogger(__name__)

SUFFIX = ".index"


class Indexes:
    """One index for each store and modality, in ``folder/store/modality.index``.

    Args:
        factory: makes an empty index of so many dimensions.
    """

    def __init__(
        self,
        folder: Path,
        segments: Segments,
        factory: Callable[[int], VectorIndex] = UsearchIndex,
    ) -> None:
        self._folder = folder
        self._segments = segments
        self._factory = factory
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], VectorIndex] = {}
        self._unsaved: set[tuple[str, str]] = set()
        self._newest: dict[tuple[str, str], int] = {}  # the greatest id that an open index has seen

    def get(self, store: StoreRecord, modality: str) -> VectorIndex | None:
        """The index, up to date; ``None`` for a store without vectors.

        Args:
            store: its dimensions are used; what is in it is read afresh.
        """
        if store.dimensions is None:
            return None
        with self._lock:
            key = (store.id, modality)
            index = self._open.get(key)
            if index is None:
                index = self._open[key] = self._restore(store.id, store.dimensions, modality)
            return index

    def apply(self, store_id: str, change: Change) -> None:
        """Follow a committed change. Changes come one at a time, in the order of their commits."""
        for modality in change.removed.keys() | change.added.keys():
            key = (store_id, modality)
            with self._lock:
                index = self._open.get(key)
            if index is None:
                continue  # when it is opened it reads the change from SQL
            self._unsaved.add(key)
            if removed := change.removed.get(modality):
                index.remove(np.array(removed, np.uint64))
            ids, vectors = change.added.get(modality, ([], []))
            # An index that was opened after the commit has read these from SQL already.
            fresh = [i for i, segment_id in enumerate(ids) if segment_id > self._newest[key]]
            if fresh:
                index.add(np.array([ids[i] for i in fresh], np.uint64), np.stack([vectors[i] for i in fresh]))
                self._newest[key] = ids[-1]

    def save(self, store: StoreRecord) -> None:
        """Write the changed indexes of a store. No change may be on its way meanwhile."""
        for key in [key for key in self._unsaved if key[0] == store.id]:
            try:
                self._open[key].save(self._path(*key), store.sequence)
            except OSError as error:  # all of it is in SQL: the next start takes longer, no more
                logger.warning("the index %s of %s could not be saved: %s", key[1], store.id, error)
                return
            self._unsaved.discard(key)

    def unsaved_stores(self) -> set[str]:
        """Ids of the stores that ``save`` would write something of."""
        return {store_id for store_id, _ in self._unsaved}

    def forget(self, store_id: str) -> None:
        """Drop the indexes of a store that was deleted."""
        with self._lock:
            for key in [key for key in self._open if key[0] == store_id]:
                del self._open[key]
                self._unsaved.discard(key)
        folder = self._folder / store_id
        if folder.is_dir():
            for path in folder.iterdir():
                path.unlink(missing_ok=True)
            folder.rmdir()

    def _restore(self, store_id: str, dimensions: int, modality: str) -> VectorIndex:
        index = self._factory(dimensions)
        key = (store_id, modality)
        # Under the lock: a change that comes after this is applied to the index, one before it is in SQL.
        now = self._segments.sequence(store_id)
        sequence = index.load(self._path(*key))
        if sequence == now:
            self._newest[key] = int(index.keys().max(initial=0))
            return index
        if sequence is not None and sequence > now:
            # SQL went back in time (a restored backup): its ids may mean other vectors now.
            index = self._factory(dimensions)
        have, want = index.keys(), self._segments.ids(store_id, modality)
        index.remove(np.setdiff1d(have, want))
        for ids, vectors in self._segments.vectors(np.setdiff1d(want, have), dimensions):
            index.add(ids, vectors)
        self._newest[key] = int(want.max(initial=0))
        self._unsaved.add(key)
        return index

    def _path(self, store_id: str, modality: str) -> Path:
        return self._folder / store_id / f"{modality}{SUFFIX}"
