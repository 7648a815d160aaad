"""What a library keeps, apart from how it gets in and is found: stores, files, and which file is where."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from chiasm.errors import InvalidInput
from chiasm.library.attributes import checked_attributes
from chiasm.library.indexes import Indexes
from chiasm.library.results import StoreInfo
from chiasm.library.tables import AttributeTables
from chiasm.settings import Settings
from chiasm.stores import (
    Change,
    EntryRecord,
    FileRecord,
    Metadata,
    Page,
    SegmentRecord,
    Segments,
    StoreRecord,
    VectorIndex,
    database_of,
    open_files,
)
from chiasm.stores.records import Attribute, FileMode
from chiasm.stores.rows import new_id


class Catalogue:
    """Stores and files of a data directory.

    Args:
        settings: ``library`` and ``limits`` are used.
        index_factory: makes an empty vector index of so many dimensions.
    """

    def __init__(self, settings: Settings, index_factory: Callable[[int], VectorIndex]) -> None:
        self._data_dir = settings.library.data_dir
        self._max_bytes = settings.limits.file_bytes
        self._blobs = open_files(settings.library, max_bytes=self._max_bytes)
        self._metadata = Metadata(database_of(settings.library), folder=self._data_dir)
        self._segments = Segments(self._metadata)
        self._indexes = Indexes(self._data_dir / "indexes", self._segments, index_factory)
        self._changing = threading.RLock()  # a commit and what the indexes make of it belong together
        self._tables = AttributeTables(self._segments, self._changing)

    def close(self) -> None:
        """Save the indexes, close the database."""
        with self._changing:
            for store_id in self._indexes.unsaved_stores():
                self._indexes.save(self._metadata.store(store_id))
            self._metadata.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save_indexes(self, store: str) -> None:
        """Write a store's vector indexes to disk, so that the next start need not rebuild them."""
        with self._changing:
            record = self._metadata.store(store)
            for modality in self._segments.modalities(record.id):
                self._indexes.get(record, modality)  # rather now than when the first query waits for it
            self._indexes.save(record)

    # Stores

    def create_store(
        self, name: str, *, attributes: Mapping[str, Attribute] | None = None, model: str | None = None
    ) -> StoreInfo:
        """A new, empty store, whose vectors a model makes that is not the first."""
        if len(name) > 256:
            raise InvalidInput(
                "expected a name of at most 256 characters", "名称不得超过 256 个字符", param="name"
            )
        return self._info(self._metadata.create_store(name, checked_attributes(attributes), model=model))

    def ensure_store(self, name: str) -> StoreInfo:
        """The store of this name or id, made if there is none of this name."""
        with self._changing:
            found = self.find_store(name)
            return found if found is not None else self.create_store(name)

    def find_store(self, reference: str) -> StoreInfo | None:
        """The store with this id, else the oldest with this name, else ``None``."""
        record = self._metadata.find_store(reference)
        return None if record is None else self._info(record)

    def get_store(self, reference: str) -> StoreInfo:
        """The store with this id, else the oldest with this name.

        Raises:
            NotFound: there is none.
        """
        return self._info(self._metadata.store(reference))

    def list_stores(self, **cursor: Any) -> Page[StoreInfo]:
        """A page of stores: ``limit``, ``after``, ``before`` (ids), ``order`` (``asc`` or ``desc``)."""
        page = self._metadata.list_stores(**cursor)
        return Page(data=tuple(self._info(record) for record in page.data), has_more=page.has_more)

    def update_store(
        self, reference: str, *, name: str | None = None, attributes: Mapping[str, Attribute] | None = None
    ) -> StoreInfo:
        """Rename a store, or replace its attributes."""
        checked = None if attributes is None else checked_attributes(attributes)
        store_id = self._metadata.store(reference).id
        return self._info(self._metadata.update_store(store_id, name=name, attributes=checked))

    def delete_store(self, reference: str) -> str:
        """Delete a store, and the files that were put in for it alone. Files elsewhere are not touched.

        Returns:
            Its id.
        """
        with self._changing:
            store_id = self._metadata.store(reference).id
            for shadow in self._metadata.shadows(store_id):
                self._indexes.forget(shadow.id)
            dropped = self._metadata.delete_store(store_id)
            self._indexes.forget(store_id)
            self._tables.forget(store_id)
            self._drop_content(dropped)
        return store_id

    # Files for themselves

    def upload_file(
        self, source: bytes | Path, name: str, *, purpose: str = "user_data", mime: str | None = None
    ) -> FileRecord:
        """Copy a file in. It is in no store yet, and stays until :meth:`delete_file`.

        Raises:
            TooLarge: more than ``limits.file_bytes``.
        """
        return self._add_copy(source, name, purpose=purpose, mime=mime, kept=True)

    def get_file(self, file_id: str) -> FileRecord:
        """What is known of a file.

        Raises:
            NotFound: there is no such file.
        """
        return self._metadata.file(file_id)

    def uploaded_files(self, *, purpose: str | None = None, **cursor: Any) -> Page[FileRecord]:
        """A page of the uploaded files; cursors as in :meth:`list_stores`."""
        return self._metadata.list_files(purpose=purpose, **cursor)

    def delete_file(self, file_id: str) -> None:
        """Delete a file (not one that lies elsewhere: it is only forgotten) and take it out of all stores."""
        with self._changing:
            record = self._metadata.file(file_id)
            for store_id, change in self._segments.delete_file(file_id).items():
                self._follow_change(store_id, change)
            self._drop_content([record])

    def path_of(self, file_id: str) -> Path:
        """Where a file's bytes lie.

        Raises:
            NotFound: there is no such file, or its bytes are not where they were.
        """
        return self._path(self._metadata.file(file_id))

    # Files in stores

    def entry(self, store: str, file_id: str) -> EntryRecord:
        """A file in a store, by file id or item id.

        Raises:
            NotFound: there is no such store, or it has no such file.
        """
        return self._metadata.entry(self._metadata.store(store).id, file_id)

    def entries_of(self, store: str, file_ids: Sequence[str]) -> list[EntryRecord]:
        """Those of these files that are in a store, in no order."""
        store_id = self._metadata.store(store).id
        return list(self._segments.owners(store_id, file_ids).values())

    def list_files(self, store: str, **cursor: Any) -> Page[EntryRecord]:
        """A page of a store's files; ``status``, ``items`` (bool) and cursors as in :meth:`list_stores`."""
        return self._metadata.list_entries(self._metadata.store(store).id, **cursor)

    def waiting(self) -> dict[str, list[str]]:
        """Ids of the files that are in a store and not indexed yet, by the store's id."""
        return self._metadata.waiting()

    def set_attributes(self, store: str, file_id: str, attributes: Mapping[str, Attribute]) -> EntryRecord:
        """Replace a file's attributes in a store."""
        entry = self.entry(store, file_id)
        with self._changing:
            changed = self._metadata.set_attributes(
                entry.store_id, entry.file.id, checked_attributes(attributes)
            )
            self._tables.put(changed.store_id, changed.file.id, changed.attributes)
        return changed

    def segments(self, store: str, file_id: str) -> list[SegmentRecord]:
        """What of a file can be found, in order."""
        entry = self.entry(store, file_id)
        return self._segments.of_file(entry.store_id, entry.file.id)

    def remove_file(self, store: str, file_id: str) -> str:
        """Take a file (or item) out of a store; an uploaded file stays an uploaded file.

        Returns:
            Its file id.
        """
        entry = self.entry(store, file_id)
        with self._changing:
            self._apply(entry.store_id, self._segments.remove(entry.store_id, [entry.file.id]))
        return entry.file.id

    # Within

    def _info(self, record: StoreRecord) -> StoreInfo:
        return StoreInfo(
            store=record,
            files=self._metadata.count_entries(record.id),
            segments=self._segments.modalities(record.id),
            bytes=self._metadata.stored_bytes(record.id),
        )

    def _apply(self, store_id: str, change: Change) -> None:
        self._follow_change(store_id, change)
        self._drop_content(change.dropped_files)

    def _follow_change(self, store_id: str, change: Change) -> None:
        self._indexes.apply(store_id, change)
        self._tables.apply(store_id, change)

    def _add_copy(
        self, source: bytes | Path, name: str, *, purpose: str, kept: bool, mime: str | None = None
    ) -> FileRecord:
        stored = self._blobs.put(source)  # takes its time, and lets others go on meanwhile
        record = self._file_record(
            new_id("file-"),
            name,
            mode="copy",
            purpose=purpose,
            sha256=stored.sha256,
            size=stored.size,
            mime=mime,
            kept=kept,
        )
        with self._changing:
            if not self._blobs.has(stored.sha256):  # the last other file of this content has gone just now
                self._blobs.put(source)
            return self._metadata.add_file(record)

    def _referred(self, source: bytes | Path, name: str | None) -> FileRecord:
        if not isinstance(source, Path):
            raise InvalidInput(
                "expected a path to refer to, got bytes", "引用模式需要文件路径，实际为字节", param="source"
            )
        path = source.resolve()
        try:
            status = path.stat()
        except OSError as error:
            raise InvalidInput(
                f"expected a file, got {source}: {error.strerror}",
                f"应为文件，实际为 {source}：{error.strerror}",
            ) from error
        return self._file_record(
            new_id("file-"),
            name or path.name,
            mode="reference",
            purpose="library",
            path=str(path),
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
        )

    def _file_record(
        self,
        file_id: str,
        name: str,
        *,
        mode: FileMode,
        purpose: str,
        path: str | None = None,
        sha256: str | None = None,
        size: int = 0,
        mtime_ns: int | None = None,
        mime: str | None = None,
        modality: str | None = None,
        kept: bool = False,
    ) -> FileRecord:
        return FileRecord(
            id=file_id,
            name=name,
            mode=mode,
            path=path,
            sha256=sha256,
            bytes=size,
            mtime_ns=mtime_ns,
            mime=mime,
            modality=modality,
            purpose=purpose,
            kept=kept,
            created_at=self._metadata.now(),
        )

    def _path(self, record: FileRecord) -> Path:
        if record.mode == "copy" and record.sha256 is not None:
            return self._blobs.existing(record.sha256)
        return Path(record.path or "")

    def _drop_content(self, dropped: Sequence[FileRecord]) -> None:
        for record in dropped:
            if record.mode == "copy" and record.sha256 and not self._metadata.has_content(record.sha256):
                self._blobs.remove(record.sha256)
