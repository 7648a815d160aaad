"""One's own media in this process: keep, index, follow, search."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chiasm.errors import InvalidInput, StoreError
from chiasm.library import folder as following
from chiasm.library.attributes import checked_attributes
from chiasm.library.catalogue import Catalogue
from chiasm.library.indexing import Cutter, Indexer, Task
from chiasm.library.query import MODALITIES, Query
from chiasm.library.relevance import Calibration
from chiasm.library.results import FileProblem, Hit, IndexReport
from chiasm.library.search import Searcher
from chiasm.preprocess import Embedder
from chiasm.settings import Settings
from chiasm.stores import EntryRecord, Indexed, NewSegment, UsearchIndex, VectorIndex
from chiasm.stores.records import Attribute, FileMode
from chiasm.stores.rows import new_id

Progress = Callable[[int, int], None]  # (done, total); may raise to stop
LIKE_VECTORS = 8  # of a long file: enough to say what it is about


def _no_progress(_done: int, _total: int) -> None:
    return


class Library(Catalogue):
    """Stores of files with their vectors; the owner of a data directory (whose lock the caller holds).

    Args:
        settings: ``library`` and ``limits`` are used.
        embedder: makes vectors; without one there is only search by given vectors.
        cutter: cuts files into pieces; needed with an embedder.
        index_factory: makes an empty vector index of so many dimensions.
    """

    def __init__(
        self,
        settings: Settings,
        embedder: Embedder | None = None,
        cutter: Cutter | None = None,
        *,
        index_factory: Callable[[int], VectorIndex] = UsearchIndex,
    ) -> None:
        super().__init__(settings, index_factory)
        self._embedder = embedder
        self._indexer: Indexer | None = None
        calibration = Calibration()
        if embedder is not None:
            description = embedder.description
            calibration = Calibration.from_mapping(description.calibration, description.dimensions)
            if cutter is not None:
                self._indexer = Indexer(embedder, cutter, max_bytes=self._max_bytes)
        self._searcher = Searcher(self._segments, self._indexes, calibration)

    # Files in stores

    def add_file(
        self,
        store: str,
        source: bytes | Path,
        name: str | None = None,
        attributes: Mapping[str, Attribute] | None = None,
        mode: FileMode = "copy",
    ) -> EntryRecord:
        """Put one file into a store and index it now; what cannot be indexed is an entry with a problem.

        Args:
            mode: ``copy`` it in, or keep a ``reference`` to where it lies (a ``Path`` then).
        """
        store_id = self._metadata.store(store).id
        checked = checked_attributes(attributes)
        if mode == "reference":
            record = self._referred(source, name)
        else:
            shown = name or (source.name if isinstance(source, Path) else "file")
            with self._changing:
                record = self._metadata.add_file(self._copied(source, shown, purpose="library", kept=False))
        task = Task(file=record, path=self._path(record), attributes=checked)
        for _ in self._index(store_id, [task]):
            pass
        return self._metadata.entry(store_id, record.id)

    def attach_files(
        self, store: str, file_ids: Sequence[str], *, attributes: Mapping[str, Attribute] | None = None
    ) -> list[EntryRecord]:
        """Put uploaded files into a store, to be indexed by :meth:`add_files`."""
        store_id = self._metadata.store(store).id
        checked = checked_attributes(attributes)
        return [
            self._metadata.attach(store_id, self._metadata.file(i).id, attributes=checked) for i in file_ids
        ]

    def add_files(
        self, store: str, file_ids: Sequence[str], progress: Progress = _no_progress
    ) -> list[EntryRecord]:
        """Index uploaded files; those that were indexed already are left alone: this can be resumed."""
        store_id = self._metadata.store(store).id
        waiting = [e for e in self.attach_missing(store_id, file_ids) if e.status == "in_progress"]
        tasks = [
            Task(file=e.file, path=self._path(e.file), folder=e.folder, item_id=e.item_id) for e in waiting
        ]
        done = len(file_ids) - len(tasks)
        progress(done, len(file_ids))
        for batch in self._index(store_id, tasks):
            done += len(batch)
            progress(done, len(file_ids))
        self.save_indexes(store_id)
        return [self._metadata.entry(store_id, file_id) for file_id in file_ids]

    def attach_missing(self, store: str, file_ids: Sequence[str]) -> list[EntryRecord]:
        """The entries of these files; made, to be indexed, where there is none."""
        store_id = self._metadata.store(store).id
        return [
            self._metadata.find_entry(store_id, file_id)
            or self._metadata.attach(store_id, self._metadata.file(file_id).id, attributes={})
            for file_id in file_ids
        ]

    # Items with vectors of one's own

    def put_item(
        self,
        store: str,
        vector: ArrayLike,
        *,
        item_id: str | None = None,
        modality: str = "text",
        attributes: Mapping[str, Attribute] | None = None,
        snippet: str | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> EntryRecord:
        """Keep an item with its vector; one with the same ``item_id`` is replaced.

        Args:
            vector: [d], any length but 0; kept as a unit vector.
            revision: of the model that made it; ``None`` for the present model or, without one, ``"given"``.
        """
        row = np.asarray(vector, np.float32)
        norm = float(np.linalg.norm(row))
        if row.ndim != 1 or not np.isfinite(norm) or norm == 0:
            raise InvalidInput(
                "expected one finite vector other than 0", "应为一个非零的有限向量", param="vector"
            )
        if modality not in MODALITIES:
            raise InvalidInput(
                f"expected one of {', '.join(MODALITIES)}, got {modality!r}",
                f"应为 {'、'.join(MODALITIES)} 之一，实际为 {modality!r}",
                param="modality",
            )
        store_id = self._metadata.store(store).id
        known = self._metadata.find_entry(store_id, item_id) if item_id else None
        identity = item_id or new_id("item-")
        record = self._file_record(
            known.file.id if known else new_id("file-"),
            name or identity,
            mode="item",
            purpose="item",
            modality=modality,
        )
        segment = NewSegment(modality=modality, vector=row / norm, snippet=snippet)
        indexed = Indexed(
            file=record, segments=[segment], attributes=checked_attributes(attributes), item_id=identity
        )
        self._commit(store_id, [indexed], revision=revision or self._revision("given"), dimensions=len(row))
        return self._metadata.entry(store_id, record.id)

    # Folders

    def index_folder(self, store: str, folder: Path | str, progress: Progress = _no_progress) -> IndexReport:
        """Bring a store in step with a folder whose files stay where they are.

        New and changed files are indexed, moved ones keep their vectors, those that are gone go; one that
        cannot be indexed is reported and not tried again until it changes. Stopped at any point, it can be
        run again.

        Args:
            progress: called with (files done, files in all).
        """
        root = following.folder_of(Path(folder))
        store_id = self._metadata.store(store).id
        self._require_indexer()
        found = following.scan(root, exclude=[self._data_dir])
        known = self._metadata.entries_in_folder(store_id, str(root))
        plan = following.plan(found, known, max_bytes=self._max_bytes)
        total = len(found.files)
        todo = self._folder_tasks(plan, root)
        done = total - len(todo)
        progress(done, total)
        self._follow(store_id, plan, root)
        failed = list(plan.failed)
        fresh = {seen.path for seen in plan.new}
        added = changed = 0
        for batch in self._index(store_id, todo):
            for one in batch:
                path = one.file.path or ""
                if one.problem is not None:
                    failed.append(FileProblem(path=path, en=one.problem.en, zh=one.problem.zh))
                elif path in fresh:
                    added += 1
                else:
                    changed += 1
            done += len(batch)
            progress(done, total)
        self.save_indexes(store_id)
        return IndexReport(
            added=added,
            changed=changed,
            moved=len(plan.moved),
            removed=len(plan.gone),
            unchanged=plan.unchanged + len(plan.touched),
            failed=tuple(failed),
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
        return self._searcher.search(
            self._metadata.store(store), query, revision=revision or self._revision(None)
        )

    def search_like(self, store: str, file_id: str, **wanted: Any) -> list[Hit]:
        """Files like one in the store, which itself is left out; ``wanted`` as in :meth:`search`."""
        entry = self.entry(store, file_id)
        record = self._metadata.store(entry.store_id)
        own = self._segments.of_file(entry.store_id, entry.file.id)
        if not own or record.dimensions is None:
            return []
        chosen = np.unique(np.linspace(0, len(own) - 1, LIKE_VECTORS).round().astype(int))
        ids = np.array([own[i].id for i in chosen], np.uint64)
        vectors = np.concatenate([rows for _, rows in self._segments.vectors(ids, record.dimensions)])
        query = Query(
            vectors=vectors,
            modality=own[0].modality,
            exclude=entry.file.id,
            **wanted,
        )
        return self._searcher.search(record, query, revision=None)

    # Within

    def _revision(self, otherwise: Any) -> Any:
        return otherwise if self._embedder is None else self._embedder.description.revision

    def _require_indexer(self) -> Indexer:
        if self._indexer is None:
            raise StoreError("there is no model to index with", "没有可用于建立索引的模型", code="no_model")
        return self._indexer

    def _index(self, store_id: str, tasks: Sequence[Task]) -> Iterator[list[Indexed]]:
        indexer = self._require_indexer()
        dimensions = self._embedder.description.dimensions if self._embedder else 0
        if not tasks:
            return
        outcomes = indexer.run(tasks, reuse=lambda digest: self._segments.new_copies(store_id, digest))
        try:
            for batch in outcomes:
                self._commit(store_id, batch, revision=self._revision(""), dimensions=dimensions)
                yield batch
        finally:
            outcomes.close()  # lets the decoding threads end when the caller stopped early

    def _commit(self, store_id: str, indexed: Sequence[Indexed], *, revision: str, dimensions: int) -> None:
        with self._changing:
            self._apply(
                store_id, self._segments.commit(store_id, indexed, revision=revision, dimensions=dimensions)
            )

    def _folder_tasks(self, plan: following.Plan, root: Path) -> list[Task]:
        tasks = []
        for seen in plan.new:
            record = self._file_record(
                new_id("file-"),
                Path(seen.path).relative_to(root).as_posix(),
                mode="reference",
                purpose="library",
                path=seen.path,
                size=seen.size,
                mtime_ns=seen.mtime_ns,
            )
            tasks.append(Task(file=record, path=Path(seen.path), folder=str(root)))
        for seen, entry in plan.changed:
            record = replace(entry.file, sha256=None, bytes=seen.size, mtime_ns=seen.mtime_ns)
            tasks.append(Task(file=record, path=Path(seen.path), folder=str(root)))
        return tasks

    def _follow(self, store_id: str, plan: following.Plan, root: Path) -> None:
        for seen, entry in (*plan.moved, *plan.touched):
            self._metadata.relocate_file(following.located(entry, seen, root).file)
        if plan.gone:
            with self._changing:
                self._apply(store_id, self._segments.remove(store_id, [entry.file.id for entry in plan.gone]))
