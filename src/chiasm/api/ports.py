"""What the API needs from the layers below, so that it does not know whether they are in this process."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import ArrayLike

from chiasm.jobs import JobRecord
from chiasm.library import Hit, NewItem, PutItem, StoreInfo
from chiasm.library.items import Existing
from chiasm.modality import Item
from chiasm.preprocess import PreparedItem
from chiasm.stores.records import Attribute, EntryRecord, FileRecord, Page


class ItemPreprocessor(Protocol):
    """Whatever turns items into model inputs: ``Preprocessor``, or one that waits for the engine."""

    def prepare(self, item: Item) -> PreparedItem:
        """The item as the model takes it; raises InvalidInput."""


class LibraryApi(Protocol):
    """The part of ``chiasm.library.Library``, or of its client, that the routes use. See there."""

    def create_store(self, name: str, *, attributes: Mapping[str, Attribute] | None = None) -> StoreInfo: ...
    def get_store(self, reference: str) -> StoreInfo: ...
    def list_stores(self, **cursor: Any) -> Page[StoreInfo]: ...
    def update_store(
        self, reference: str, *, name: str | None = None, attributes: Mapping[str, Attribute] | None = None
    ) -> StoreInfo: ...
    def delete_store(self, reference: str) -> str: ...

    def upload_file(
        self, source: bytes | Path, name: str, *, purpose: str = "user_data", mime: str | None = None
    ) -> FileRecord: ...
    def get_file(self, file_id: str) -> FileRecord: ...
    def uploaded_files(self, *, purpose: str | None = None, **cursor: Any) -> Page[FileRecord]: ...
    def delete_file(self, file_id: str) -> None: ...
    def path_of(self, file_id: str) -> Path: ...

    def attach_files(
        self, store: str, file_ids: Sequence[str], *, attributes: Mapping[str, Attribute] | None = None
    ) -> Sequence[EntryRecord]: ...
    def add_files(self, store: str, file_ids: Sequence[str]) -> Sequence[EntryRecord]: ...
    def entry(self, store: str, file_id: str) -> EntryRecord: ...
    def entries_of(self, store: str, file_ids: Sequence[str]) -> Sequence[EntryRecord]: ...
    def list_files(self, store: str, **cursor: Any) -> Page[EntryRecord]: ...
    def set_attributes(
        self, store: str, file_id: str, attributes: Mapping[str, Attribute]
    ) -> EntryRecord: ...
    def remove_file(self, store: str, file_id: str) -> str: ...

    def put_items(
        self,
        store: str,
        vectors: ArrayLike,
        items: Sequence[NewItem],
        *,
        existing: Existing = "replace",
        revision: str | None = None,
    ) -> Sequence[PutItem]: ...

    def search(
        self,
        store: str,
        vectors: ArrayLike,
        query_modality: str | Sequence[str],
        *,
        revision: str | None = None,
        **wanted: Any,
    ) -> Sequence[Hit]: ...
    def search_like(self, store: str, file_id: str, **wanted: Any) -> Sequence[Hit]: ...


@runtime_checkable
class Jobs(Protocol):
    """What a library in a process of its own can do besides: long work. See ``LibraryClient``."""

    def submit_index_folder(self, store: str, folder: Path | str) -> JobRecord: ...
    def submit_add_files(self, store: str, file_ids: Sequence[str]) -> JobRecord: ...
    def get_job(self, job_id: str) -> JobRecord: ...
    def list_jobs(self, *, limit: int = 50, offset: int = 0) -> list[JobRecord]: ...
    def cancel_job(self, job_id: str) -> JobRecord: ...
