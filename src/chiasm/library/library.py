"""One's own media in this process: keep, index, follow, search."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chiasm.library.filling import Filling, Pace, Progress, no_progress
from chiasm.library.indexing import Task
from chiasm.library.makers import Maker
from chiasm.library.query import Query
from chiasm.library.reembedding import Difference, difference, item_task, version_of
from chiasm.library.results import FileProblem, Hit, IndexReport
from chiasm.library.search import Searcher
from chiasm.stores import EntryRecord, StoreRecord
from chiasm.stores.census import Held, census

LIKE_VECTORS = 8  # of a long file: enough to say what it is about


class Library(Filling):
    """Stores of files with their vectors; the owner of a data directory (whose lock the caller holds)."""

    @cached_property
    def _searcher(self) -> Searcher:
        return Searcher(self._segments, self._indexes, self._tables, self._makers.calibration)

    def census(self) -> list[Held]:
        """Entries by store and modality."""
        return census(self._metadata)

    # Models

    def reembed(self, store: str, model: str | None, progress: Progress = no_progress) -> IndexReport:
        """Make all vectors of a store anew with another model. Until the end the store answers with those it
        has; stopped at any point, this can be run again and goes on.

        Args:
            model: its name; ``None`` for the first.
            progress: called with (files done, files in all).

        Raises:
            NotFound: there is no such store or model.
            Conflict: the store has items of which nothing but a vector is kept.
        """
        record = self._metadata.store(store)
        maker = self._makers.get(model)
        revision = maker.embedder.description.revision
        if record.revision in (None, revision):
            self._metadata.set_model(record.id, model)
            return IndexReport(unchanged=len(self._metadata.all_entries(record.id)))
        shadow = self._shadow(record, model, revision)
        pace = Pace(progress, self._metadata.count(record.id), 0)
        self._catch_up(record.id, shadow, maker, pace)
        with self._indexing_lock(record.id).alone(pace.tell):
            while True:
                self._catch_up(record.id, shadow, maker, pace)
                with self._changing:
                    if self._lacking(record.id, shadow):
                        continue  # something came by another way: once more
                    self._segments.take_over(record.id, self._metadata.store(shadow.id))
                    for store_id in (record.id, shadow.id):
                        self._indexes.forget(store_id)
                        self._tables.forget(store_id)
                    break
        self.save_indexes(record.id)
        entries = self._metadata.all_entries(record.id)
        failed = [
            FileProblem(path=e.file.path or e.file.name, en=e.problem.en, zh=e.problem.zh)
            for e in entries
            if e.problem is not None
        ]
        return IndexReport(changed=len(entries) - len(failed), failed=tuple(failed))

    def drop_shadows(self, store: str) -> None:
        """Forget what :meth:`reembed` has made so far."""
        record = self._metadata.find_store(store)
        for shadow in [] if record is None else self._metadata.shadows(record.id):
            self.delete_store(shadow.id)

    def _shadow(self, record: StoreRecord, model: str | None, revision: str) -> StoreRecord:
        for shadow in self._metadata.shadows(record.id):
            if shadow.model == model and shadow.revision in (None, revision):
                return shadow
            self.delete_store(shadow.id)
        return self._metadata.create_store("", {}, model=model, shadow_of=record.id)

    def _lacking(self, store_id: str, shadow: StoreRecord) -> Difference:
        return difference(self._metadata.all_entries(store_id), self._metadata.all_entries(shadow.id))

    def _catch_up(self, store_id: str, shadow: StoreRecord, maker: Maker, pace: Pace) -> None:
        """Bring a shadow in step with its store."""
        lacking = self._lacking(store_id, shadow)
        pace.total = self._metadata.count(store_id)
        pace.done = pace.total - len(lacking.missing)
        pace.tell()
        if lacking.extra:
            with self._changing:
                self._apply(shadow.id, self._segments.remove(shadow.id, lacking.extra))
        tasks = [self._anew(entry, maker) for entry in lacking.missing]
        for batch in self._index(shadow.id, tasks, check=pace.tell):
            pace.done += len(batch)
            pace.tell()

    def _anew(self, entry: EntryRecord, maker: Maker) -> Task:
        if entry.item_id is not None:
            segments = self._segments.of_file(entry.store_id, entry.file.id)
            path = None if entry.file.sha256 is None else self._path(entry.file)
            return item_task(entry, segments[0] if segments else None, path, maker, self._limits)
        return Task(
            file=entry.file,
            path=partial(self._path, entry.file),
            attributes=version_of(entry.file),
            folder=entry.folder,
        )

    # Search

    def search(
        self,
        store: str,
        vectors: ArrayLike,
        query_modality: str | Sequence[str],
        *,
        revision: str | None = None,
        **wanted: Any,
    ) -> list[Hit]:
        """The files that fit best, by calibrated probability.

        Args:
            vectors: [q, d] or [d].
            query_modality: of all of them, or of each.
            revision: of the model that made them; ``None`` for the present one.
            wanted: the other fields of :class:`~chiasm.library.query.Query`.
        """
        query = Query(
            vectors=np.atleast_2d(np.asarray(vectors, np.float32)),
            modality=query_modality,
            **wanted,
        )
        record = self._metadata.store(store)
        return self._searcher.search(record, query, revision=revision or self._revision(record.model))

    def search_like(self, store: str, file_id: str, **wanted: Any) -> list[Hit]:
        """Files like one in the store, which itself is left out; ``wanted`` as in :meth:`search`."""
        entry = self.entry(store, file_id)
        record = self._metadata.store(entry.store_id)
        own = self._segments.of_file(entry.store_id, entry.file.id)
        if not own or record.dimensions is None:
            return []
        chosen = np.unique(np.linspace(0, len(own) - 1, LIKE_VECTORS).round().astype(int))
        modality_of = {own[i].id: own[i].modality for i in chosen}
        parts = list(self._segments.vectors(np.array(list(modality_of), np.uint64), record.dimensions))
        query = Query(
            vectors=np.concatenate([rows for _, rows in parts]),
            modality=[modality_of[int(i)] for ids, _ in parts for i in ids],
            exclude=entry.file.id,
            **wanted,
        )
        return self._searcher.search(record, query, revision=None)
