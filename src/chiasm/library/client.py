"""The library of another process: the same methods as :class:`~chiasm.library.library.Library`."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from chiasm.errors import ChiasmError, NotFound
from chiasm.jobs import JobRecord
from chiasm.jobs.storage import QUEUE, SLOW_QUEUE, SMALL_QUEUE
from chiasm.library.batches import BATCH
from chiasm.library.figures import LibraryFigures
from chiasm.library.filling import Progress
from chiasm.library.items import Existing, NewItem, PutItem
from chiasm.library.protocol import ARRAY_ARGUMENTS, FIGURES, JOB_PREFIX, unpack
from chiasm.library.results import Hit, IndexReport, StoreInfo
from chiasm.library.work import ADD_FILES, FEW_FILES, INDEX_FOLDER, PULL_MODEL, REEMBED
from chiasm.serving.rpc import RpcClient
from chiasm.stores import EntryRecord, FileRecord, Page, SegmentRecord
from chiasm.stores.records import Attribute, FileMode

T = TypeVar("T")
POLL_SECONDS = 0.2


class LibraryClient:
    """Calls the library process; thread-safe. See :class:`~chiasm.library.library.Library` for each method.

    Args:
        address: where the library process answers.
        timeout: seconds for an answer.
        upload_timeout: seconds for one that takes a file in.
    """

    def __init__(self, address: str, *, timeout: float = 30.0, upload_timeout: float = 600.0) -> None:
        self._rpc = RpcClient(address, service="library")
        self._timeout = timeout
        self._upload_timeout = upload_timeout

    def close(self) -> None:
        """End the connection."""
        self._rpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Stores

    def create_store(
        self, name: str, *, attributes: Mapping[str, Attribute] | None = None, model: str | None = None
    ) -> StoreInfo:
        """A new, empty store."""
        return self._call(StoreInfo, "create_store", name=name, attributes=attributes, model=model)

    def ensure_store(self, name: str) -> StoreInfo:
        """The store of this name or id, made if there is none of this name."""
        return self._call(StoreInfo, "ensure_store", name=name)

    def find_store(self, reference: str) -> StoreInfo | None:
        """The store with this id or name, or ``None``."""
        try:
            return self.get_store(reference)
        except NotFound:
            return None

    def get_store(self, reference: str) -> StoreInfo:
        """The store with this id or name."""
        return self._call(StoreInfo, "get_store", reference=reference)

    def list_stores(self, **cursor: Any) -> Page[StoreInfo]:
        """A page of stores."""
        return self._call(Page[StoreInfo], "list_stores", **cursor)

    def update_store(
        self, reference: str, *, name: str | None = None, attributes: Mapping[str, Attribute] | None = None
    ) -> StoreInfo:
        """Rename a store, or replace its attributes."""
        return self._call(StoreInfo, "update_store", reference=reference, name=name, attributes=attributes)

    def delete_store(self, reference: str) -> str:
        """Delete a store."""
        return self._call(str, "delete_store", reference=reference)

    # Files

    def upload_file(
        self, source: bytes | Path, name: str, *, purpose: str = "user_data", mime: str | None = None
    ) -> FileRecord:
        """Copy a file in; a ``Path`` is read by the library process."""
        return self._call(FileRecord, "upload_file", source=source, name=name, purpose=purpose, mime=mime)

    def get_file(self, file_id: str) -> FileRecord:
        """What is known of a file."""
        return self._call(FileRecord, "get_file", file_id=file_id)

    def uploaded_files(self, *, purpose: str | None = None, **cursor: Any) -> Page[FileRecord]:
        """A page of the uploaded files."""
        return self._call(Page[FileRecord], "uploaded_files", purpose=purpose, **cursor)

    def delete_file(self, file_id: str) -> None:
        """Delete a file and take it out of all stores."""
        self._call(type(None), "delete_file", file_id=file_id)

    def path_of(self, file_id: str) -> Path:
        """Where a file's bytes lie."""
        return Path(self._call(str, "path_of", file_id=file_id))

    def add_file(
        self,
        store: str,
        source: bytes | Path,
        name: str | None = None,
        attributes: Mapping[str, Attribute] | None = None,
        mode: FileMode = "copy",
    ) -> EntryRecord:
        """Put one file into a store and index it now."""
        return self._call(
            EntryRecord, "add_file", store=store, source=source, name=name, attributes=attributes, mode=mode
        )

    def attach_files(
        self, store: str, file_ids: Sequence[str], *, attributes: Mapping[str, Attribute] | None = None
    ) -> list[EntryRecord]:
        """Put uploaded files into a store, to be indexed by :meth:`add_files`."""
        return self._call(
            list[EntryRecord], "attach_files", store=store, file_ids=list(file_ids), attributes=attributes
        )

    def add_files(
        self, store: str, file_ids: Sequence[str], progress: Progress | None = None
    ) -> list[EntryRecord]:
        """Index uploaded files: as a job, for whose end this waits."""
        self._finished(self.submit_add_files(store, file_ids), progress)
        return [self.entry(store, file_id) for file_id in file_ids]

    def entry(self, store: str, file_id: str) -> EntryRecord:
        """A file in a store, by file id or item id."""
        return self._call(EntryRecord, "entry", store=store, file_id=file_id)

    def entries_of(self, store: str, file_ids: Sequence[str]) -> list[EntryRecord]:
        """Those of these files that are in a store, in no order."""
        return self._call(list[EntryRecord], "entries_of", store=store, file_ids=list(file_ids))

    def list_files(self, store: str, **cursor: Any) -> Page[EntryRecord]:
        """A page of a store's files."""
        return self._call(Page[EntryRecord], "list_files", store=store, **cursor)

    def set_attributes(self, store: str, file_id: str, attributes: Mapping[str, Attribute]) -> EntryRecord:
        """Replace a file's attributes in a store."""
        return self._call(EntryRecord, "set_attributes", store=store, file_id=file_id, attributes=attributes)

    def segments(self, store: str, file_id: str) -> list[SegmentRecord]:
        """What of a file can be found, in order."""
        return self._call(list[SegmentRecord], "segments", store=store, file_id=file_id)

    def remove_file(self, store: str, file_id: str) -> str:
        """Take a file (or item) out of a store."""
        return self._call(str, "remove_file", store=store, file_id=file_id)

    def put_items(
        self,
        store: str,
        vectors: ArrayLike,
        items: Sequence[NewItem],
        *,
        existing: Existing = "replace",
        revision: str | None = None,
    ) -> list[PutItem]:
        """Keep items with their vectors; their files are read by the library process."""
        return self._call(
            list[PutItem],
            "put_items",
            store=store,
            vectors=vectors,
            items=[asdict(item) for item in items],
            existing=existing,
            revision=revision,
        )

    # Folders and search

    def index_folder(self, store: str, folder: Path | str, progress: Progress | None = None) -> IndexReport:
        """Bring a store in step with a folder: as a job, for whose end this waits."""
        job = self._finished(self.submit_index_folder(store, folder), progress)
        return msgspec.convert(dict(job.result), IndexReport)

    def search(
        self,
        store: str,
        vectors: ArrayLike,
        query_modality: str | Sequence[str],
        *,
        revision: str | None = None,
        **wanted: Any,
    ) -> list[Hit]:
        """The files that fit best."""
        return self._call(
            list[Hit],
            "search",
            store=store,
            vectors=vectors,
            query_modality=query_modality,
            revision=revision,
            **wanted,
        )

    def search_like(self, store: str, file_id: str, **wanted: Any) -> list[Hit]:
        """Files like one in the store."""
        return self._call(list[Hit], "search_like", store=store, file_id=file_id, **wanted)

    # Jobs

    def figures(self, *, timeout: float = 1.0) -> LibraryFigures:
        """How large the library is and what its jobs are up to."""
        payload, _ = self._rpc.call(FIGURES, {}, timeout=timeout)
        return unpack(payload, LibraryFigures)

    def submit_index_folder(self, store: str, folder: Path | str) -> JobRecord:
        """Queue the following of a folder; one that is queued or running already is returned instead."""
        store_id = self.get_store(store).store.id
        path = str(Path(folder).expanduser().absolute())
        return self.submit_job(INDEX_FOLDER, {"store": store_id, "folder": path}, key=f"{store_id}:{path}")

    def submit_add_files(self, store: str, file_ids: Sequence[str]) -> JobRecord:
        """Queue the indexing of uploaded files; a few do not wait for folders and large batches."""
        return self.submit_job(
            ADD_FILES,
            {"store": self.get_store(store).store.id, "file_ids": list(file_ids)},
            queue=SMALL_QUEUE if len(file_ids) <= FEW_FILES else QUEUE,
        )

    def submit_reembed(self, store: str, model: str | None) -> JobRecord:
        """Queue the making of a store's vectors with another model."""
        store_id = self.get_store(store).store.id
        return self.submit_job(
            REEMBED, {"store": store_id, "model": model}, key=f"{REEMBED}:{store_id}", queue=SLOW_QUEUE
        )

    def submit_pull(self, name: str, source: str) -> JobRecord:
        """Queue the bringing of a model from a hub, to be served under a name."""
        params = {"name": name, "source": source}
        return self.submit_job(PULL_MODEL, params, key=f"{PULL_MODEL}:{name}:{source}", queue=SLOW_QUEUE)

    def submit_batch(self, params: Mapping[str, Any]) -> JobRecord:
        """Queue a batch; see :mod:`chiasm.library.batches`."""
        return self.submit_job(BATCH, params, queue=SLOW_QUEUE)

    def submit_job(
        self, name: str, params: Mapping[str, Any], *, key: str | None = None, queue: str = QUEUE
    ) -> JobRecord:
        """Queue a job by name; see :class:`~chiasm.jobs.client.JobsClient`."""
        return self._job(JobRecord, "submit", name=name, params=dict(params), key=key, queue=queue)

    def get_job(self, job_id: str) -> JobRecord:
        """A job as it stands."""
        return self._job(JobRecord, "get", job_id=job_id)

    def list_jobs(self, *, limit: int = 50, offset: int = 0) -> list[JobRecord]:
        """The latest jobs, newest first."""
        return self._job(list[JobRecord], "list_jobs", limit=limit, offset=offset)

    def cancel_job(self, job_id: str) -> JobRecord:
        """Ask a job to stop."""
        return self._job(JobRecord, "cancel", job_id=job_id)

    def delete_job(self, job_id: str) -> None:
        """Cancel a job that is not finished; forget one that is."""
        self._job(type(None), "delete", job_id=job_id)

    # Within

    def _finished(self, job: JobRecord, progress: Progress | None) -> JobRecord:
        try:
            while not job.finished:
                time.sleep(POLL_SECONDS)
                job = self.get_job(job.id)
                if progress is not None:
                    progress(job.done, job.total)
        except BaseException:
            self.cancel_job(job.id)  # nobody waits for it any more
            raise
        if job.error is not None:
            raise ChiasmError(job.error.en, job.error.zh, code=job.error.code)
        if job.status == "cancelled":
            raise ChiasmError("the job was cancelled", "任务已取消", code="cancelled")
        return job

    def _call(self, kind: type[T], method: str, **arguments: Any) -> T:
        arrays = []
        timeout = self._timeout
        taken = ARRAY_ARGUMENTS.get(method)
        if taken == "source":
            timeout = self._upload_timeout
            source = arguments.pop(taken)
            if isinstance(source, Path):
                arguments[taken] = str(source.expanduser().absolute())
            else:
                arrays.append(np.frombuffer(source, np.uint8))
        elif taken is not None:
            arrays.append(np.asarray(arguments.pop(taken), np.float32))
        payload, _ = self._rpc.call(method, arguments, arrays, timeout=timeout)
        return unpack(payload, kind)

    def _job(self, kind: type[T], method: str, **arguments: Any) -> T:
        payload, _ = self._rpc.call(JOB_PREFIX + method, arguments, timeout=self._timeout)
        return unpack(payload, kind)
