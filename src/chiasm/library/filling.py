"""How a library is filled: files, followed folders, items."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chiasm.library import folder as following
from chiasm.library.attributes import checked_attributes
from chiasm.library.catalogue import Catalogue
from chiasm.library.indexing import Cutter, Task
from chiasm.library.items import Existing, NewItem, PutItem, PutStatus, check_items, unit_rows
from chiasm.library.makers import Maker, Makers
from chiasm.library.results import FileProblem, IndexReport
from chiasm.library.shared import SharedLock
from chiasm.preprocess import Embedder
from chiasm.preprocess.late import Prepares
from chiasm.settings import Settings
from chiasm.stores import EntryRecord, Indexed, NewSegment, UsearchIndex, VectorIndex
from chiasm.stores.records import Attribute, FileMode
from chiasm.stores.rows import new_id

Progress = Callable[[int, int], None]  # (done, total); may raise to stop
GIVEN = "given"  # instead of a model's revision: vectors that came from outside
_ON_EXISTING: Mapping[Existing, PutStatus] = {"replace": "replaced", "keep": "kept", "refuse": "conflict"}


def no_progress(_done: int, _total: int) -> None:
    """Nobody looks."""


def _nobody(_name: str) -> None:
    return None


@dataclass
class Pace:
    """How far something is, and who is told."""

    progress: Progress
    total: int
    done: int

    def tell(self) -> None:
        """Tell; may raise to stop."""
        self.progress(self.done, self.total)


class Filling(Catalogue):
    """How files and items get into stores, with vectors.

    Args:
        settings: ``library`` and ``limits`` are used.
        embedder: makes vectors; without one there is only search by given vectors.
        cutter: cuts files into pieces; needed with an embedder.
        preprocessor: of the embedder's model; only what is no file needs it, to be embedded anew.
        others: finds further models by name, for stores that have chosen one.
        index_factory: makes an empty vector index of so many dimensions.
    """

    def __init__(
        self,
        settings: Settings,
        embedder: Embedder | None = None,
        cutter: Cutter | None = None,
        *,
        preprocessor: Prepares | None = None,
        others: Callable[[str], Maker | None] = _nobody,
        index_factory: Callable[[int], VectorIndex] = UsearchIndex,
    ) -> None:
        super().__init__(settings, index_factory)
        first = (
            None if embedder is None else Maker(embedder=embedder, cutter=cutter, preprocessor=preprocessor)
        )
        self._limits = settings.limits
        self._makers = Makers(first, others, max_bytes=self._max_bytes)
        self._indexing: dict[
            str, SharedLock
        ] = {}  # by store: held while its model's vectors are on their way

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
        progress: Progress = no_progress,
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
        pace = Pace(progress, len(file_ids), len(file_ids) - len(waiting))
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
            revision: of the model that made the vectors; ``None`` for the store's model, if they have as many
                dimensions as its own, else ``"given"``.

        Raises:
            Conflict: the store's vectors are of another model revision or of other dimensions.
        """
        rows = unit_rows(vectors, len(items))
        check_items(items)
        record = self._metadata.store(store)
        store_id = record.id
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
                made_by = revision or self._revision_of(record.model, rows.shape[1])
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

    def _revision_of(self, model: str | None, dimensions: int) -> str:
        maker = self._makers.find(model)
        if maker is None or maker.embedder.description.dimensions != dimensions:
            return GIVEN
        return maker.embedder.description.revision

    # Folders

    def index_folder(
        self,
        store: str,
        folder: Path | str,
        progress: Progress = no_progress,
        *,
        exclude: Sequence[str] = (),
    ) -> IndexReport:
        """Bring a store in step with a folder whose files stay where they are.

        New and changed files are indexed, moved ones keep their vectors, those that are gone go; one that
        cannot be indexed is reported and not tried again until it changes. Stopped at any point, it can be
        run again.

        Args:
            progress: called with (files done, files in all).
            exclude: names of folders within it that are left out.
        """
        root = following.folder_of(Path(folder))
        record = self._metadata.store(store)
        store_id = record.id
        self._makers.indexer(record.model)
        found = following.scan(root, exclude=[self._data_dir, *(root / name for name in exclude)])
        known = self._metadata.entries_in_folder(store_id, str(root))
        plan = following.plan(found, known, max_bytes=self._max_bytes)
        total = len(found.files)
        todo = self._folder_tasks(plan, root)
        pace = Pace(progress, total, total - len(todo))
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

    # Within

    def _revision(self, model: str | None) -> str | None:
        maker = self._makers.find(model)
        return None if maker is None else maker.embedder.description.revision

    def _index(
        self, store_id: str, tasks: Sequence[Task], check: Callable[[], None] = lambda: None
    ) -> Iterator[list[Indexed]]:
        if not tasks:
            self._makers.indexer(self._metadata.store(store_id).model)
            return
        with self._indexing_lock(store_id).shared(check):
            model = self._metadata.store(store_id).model  # another may have come while this waited
            indexer = self._makers.indexer(model)
            about = self._makers.get(model).embedder.description
            outcomes = indexer.run(
                tasks, reuse=lambda digest: self._segments.new_copies(store_id, digest), check=check
            )
            try:
                for batch in outcomes:
                    self._commit(store_id, batch, revision=about.revision, dimensions=about.dimensions)
                    yield batch
            finally:
                outcomes.close()  # lets the decoding threads end when the caller stopped early

    def _indexing_lock(self, store_id: str) -> SharedLock:
        with self._changing:
            return self._indexing.setdefault(store_id, SharedLock())

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
