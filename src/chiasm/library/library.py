"""One's own media in this process: keep, index, follow, search."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chiasm.errors import StoreError
from chiasm.library import folder as following
from chiasm.library.attributes import checked_attributes
from chiasm.library.catalogue import Catalogue
from chiasm.library.indexing import Cutter, Indexer, Task
from chiasm.library.items import Existing, NewItem, PutItem, PutStatus, check_items, unit_rows
from chiasm.library.query import Query
from chiasm.library.relevance import Calibration
from chiasm.library.results import FileProblem, Hit, IndexReport
from chiasm.library.search import Searcher
from chiasm.preprocess import Embedder
from chiasm.settings import Settings
from chiasm.stores import EntryRecord, Indexed, NewSegment, UsearchIndex, VectorIndex
from chiasm.stores.census import Held, census
from chiasm.stores.records import Attribute, FileMode
from chiasm.stores.rows import new_id

Progress = Callable[[int, int], None]  # (done, total); may raise to stop
GIVEN = "given"  # instead of a model's revision: vectors that came from outside
_ON_EXISTING: Mapping[Existing, PutStatus] = {"replace": "replaced", "keep": "kept", "refuse": "conflict"}
LIKE_VECTORS = 8  # of a long file: enough to say what it is about


def _no_progress(_done: int, _total: int) -> None:
    return


@dataclass
class _Pace:
    progress: Progress
    total: int
    done: int

    def tell(self) -> None:
        self.progress(self.done, self.total)


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
        calibrations: dict[str, Calibration] = {}
        if embedder is not None:
            about = embedder.description
            calibrations[about.revision] = Calibration.from_mapping(about.calibration, about.dimensions)
            if cutter is not None:
                self._indexer = Indexer(embedder, cutter, max_bytes=self._max_bytes)
        neutral = Calibration()  # of vectors from elsewhere only their order can be told
        self._searcher = Searcher(
            self._segments, self._indexes, self._tables, lambda revision: calibrations.get(revision, neutral)
        )

    def census(self) -> list[Held]:
        """Entries by store and modality."""
        return census(self._metadata)

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
            record = self._add_copy(source, shown, purpose="library", kept=False)
        task = Task(file=record, path=partial(self._path, record), attributes=checked)
        for _ in self._index(store_id, [task]):
            pass
        return self._metadata.entry(store_id, record.id)

    def attach_files(
        self, store: str, file_ids: Sequence[str], *, attributes: Mapping[str, Attribute] | None = None
    ) -> list[EntryRecord]:
        """Put uploaded files into a store, to be indexed by :meth:`add_files`."""
        store_id = self._metadata.store(store).id
        checked = checked_attributes(attributes)
        return [self._attach(store_id, file_id, checked) for file_id in file_ids]

    def add_files(
        self,
        store: str,
        file_ids: Sequence[str],
        progress: Progress = _no_progress,
        *,
        neighbours: Callable[[], Sequence[str]] = tuple,
    ) -> list[EntryRecord]:
        """Index uploaded files; those that were indexed already are left alone: this can be resumed.

        Args:
            neighbours: others, attached to the same store, to index on the way if there is anything to do.
        """
        store_id = self._metadata.store(store).id
        entries = self.attach_missing(store_id, file_ids)
        waiting = {e.file.id: e for e in entries if e.status == "in_progress"}
        pace = _Pace(progress, len(file_ids), len(file_ids) - len(waiting))
        pace.tell()
        if not waiting:
            return entries
        mine = set(waiting)
        for file_id in neighbours():
            entry = self._metadata.find_entry(store_id, file_id)
            if entry is not None and entry.status == "in_progress":
                waiting[file_id] = entry
        tasks = [
            Task(file=e.file, path=partial(self._path, e.file), folder=e.folder, item_id=e.item_id)
            for e in waiting.values()
        ]
        for batch in self._index(store_id, tasks, check=pace.tell):
            pace.done += sum(one.file.id in mine for one in batch)
            pace.tell()
        self.save_indexes(store_id)
        return [self._metadata.entry(store_id, file_id) for file_id in file_ids]

    def attach_missing(self, store: str, file_ids: Sequence[str]) -> list[EntryRecord]:
        """The entries of these files; made, to be indexed, where there is none."""
        store_id = self._metadata.store(store).id
        return [
            self._metadata.find_entry(store_id, file_id) or self._attach(store_id, file_id, {})
            for file_id in file_ids
        ]

    def _attach(self, store_id: str, file_id: str, attributes: Mapping[str, Attribute]) -> EntryRecord:
        with self._changing:
            entry = self._metadata.attach(store_id, self._metadata.file(file_id).id, attributes=attributes)
            self._tables.put(store_id, entry.file.id, entry.attributes)
        return entry

    # Items

    def put_items(
        self,
        store: str,
        vectors: ArrayLike,
        items: Sequence[NewItem],
        *,
        existing: Existing = "replace",
        revision: str | None = None,
    ) -> list[PutItem]:
        """Keep items with their vectors, all or none of them.

        Args:
            vectors: [n, d], any length but 0; kept as unit vectors.
            existing: what happens to an item whose id is there already: it is replaced, or kept as it is, or
                the new one is refused (``conflict``).
            revision: of the model that made the vectors; ``None`` for the present model, if they have as many
                dimensions as its own, else ``"given"``.

        Raises:
            Conflict: the store's vectors are of another model revision or of other dimensions.
        """
        rows = unit_rows(vectors, len(items))
        check_items(items)
        store_id = self._metadata.store(store).id
        outcome, indexed, replaced = [], [], []
        with self._changing:
            known = self._metadata.items(store_id, [item.id for item in items if item.id])
            for item, row in zip(items, rows, strict=True):
                before = known.get(item.id or "")
                identity = item.id or new_id("item-")
                status: PutStatus = "created" if before is None else _ON_EXISTING[existing]
                outcome.append(PutItem(id=identity, status=status))
                if status in {"created", "replaced"}:
                    indexed.append(self._item(item, row, identity, before))
                if before is not None and status == "replaced":
                    replaced.append(before.file)
            if indexed:
                made_by = revision or self._revision_of(rows.shape[1])
                self._commit(store_id, indexed, revision=made_by, dimensions=rows.shape[1])
            self._drop_content(replaced)
        return outcome

    def _item(
        self, item: NewItem, row: NDArray[np.float32], identity: str, before: EntryRecord | None
    ) -> Indexed:
        stored = None if item.path is None else self._blobs.put(Path(item.path))
        record = self._file_record(
            before.file.id if before else new_id("file-"),
            item.name or identity,
            mode="item" if stored is None else "copy",
            purpose="item",
            sha256=None if stored is None else stored.sha256,
            size=0 if stored is None else stored.size,
            mime=item.mime,
            modality=item.modality,
        )
        return Indexed(
            file=record,
            segments=[NewSegment(modality=item.modality, vector=row, snippet=item.snippet)],
            attributes=checked_attributes(item.attributes),
            item_id=identity,
        )

    def _revision_of(self, dimensions: int) -> str:
        if self._embedder is None or self._embedder.description.dimensions != dimensions:
            return GIVEN
        return self._embedder.description.revision

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
        pace = _Pace(progress, total, total - len(todo))
        pace.tell()
        self._follow(store_id, plan, root)
        failed = list(plan.failed)
        fresh = {seen.path for seen in plan.new}
        added = changed = 0
        for batch in self._index(store_id, todo, check=pace.tell):
            for one in batch:
                path = one.file.path or ""
                if one.problem is not None:
                    failed.append(FileProblem(path=path, en=one.problem.en, zh=one.problem.zh))
                elif path in fresh:
                    added += 1
                else:
                    changed += 1
            pace.done += len(batch)
            pace.tell()
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
        modality_of = {own[i].id: own[i].modality for i in chosen}
        parts = list(self._segments.vectors(np.array(list(modality_of), np.uint64), record.dimensions))
        query = Query(
            vectors=np.concatenate([rows for _, rows in parts]),
            modality=[modality_of[int(i)] for ids, _ in parts for i in ids],
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

    def _index(
        self, store_id: str, tasks: Sequence[Task], check: Callable[[], None] = lambda: None
    ) -> Iterator[list[Indexed]]:
        indexer = self._require_indexer()
        dimensions = self._embedder.description.dimensions if self._embedder else 0
        if not tasks:
            return
        outcomes = indexer.run(
            tasks, reuse=lambda digest: self._segments.new_copies(store_id, digest), check=check
        )
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
            tasks.append(Task(file=record, path=partial(Path, seen.path), folder=str(root)))
        for seen, entry in plan.changed:
            record = replace(entry.file, sha256=None, bytes=seen.size, mtime_ns=seen.mtime_ns)
            tasks.append(Task(file=record, path=partial(Path, seen.path), folder=str(root)))
        return tasks

    def _follow(self, store_id: str, plan: following.Plan, root: Path) -> None:
        for seen, entry in (*plan.moved, *plan.touched):
            self._metadata.relocate_file(following.located(entry, seen, root).file)
        if plan.gone:
            with self._changing:
                self._apply(store_id, self._segments.remove(store_id, [entry.file.id for entry in plan.gone]))
