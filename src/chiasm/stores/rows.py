"""Between SQL rows and records."""

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from chiasm.stores.records import EntryRecord, FileRecord, Problem, SegmentRecord, StoreRecord
from chiasm.stores.schema import entries, files, segments, stores

FILE_COLUMNS = [c for c in files.c if c.name != "ordinal"]
ENTRY_COLUMNS = [c for c in entries.c if c.name not in {"ordinal", "file_id"}]
SEGMENT_COLUMNS = [
    segments.c.id,
    segments.c.file_id,
    segments.c.modality,
    segments.c.ordinal,
    segments.c.start,
    segments.c.end,
    segments.c.snippet,
    segments.c.page,
    segments.c.fingerprint,
    segments.c.box,
]
STORE_COLUMNS = [c for c in stores.c if c.name != "ordinal"]
_STORED = np.dtype("<f2")


def new_id(prefix: str) -> str:
    """An identifier that nobody can guess."""
    return f"{prefix}{secrets.token_hex(12)}"


def store_of(row: sa.Row[Any]) -> StoreRecord:
    """A row of ``STORE_COLUMNS``."""
    return StoreRecord(**row._mapping)


def file_of(row: Mapping[str, Any]) -> FileRecord:
    """A mapping that has ``FILE_COLUMNS``."""
    return FileRecord(**{c.name: row[c.name] for c in FILE_COLUMNS})


def entry_select() -> sa.Select[Any]:
    """Entries with their files; read by :func:`entry_of`."""
    labelled = [c.label(f"entry_{c.name}") for c in ENTRY_COLUMNS]
    return sa.select(*labelled, *FILE_COLUMNS).join(files, files.c.id == entries.c.file_id)


def entry_of(row: sa.Row[Any]) -> EntryRecord:
    """A row of :func:`entry_select`."""
    found = row._mapping
    code = found["entry_problem_code"]
    problem = Problem(code=code, en=found["entry_problem_en"], zh=found["entry_problem_zh"]) if code else None
    return EntryRecord(
        store_id=found["entry_store_id"],
        file=file_of({str(key): value for key, value in found.items()}),
        status=found["entry_status"],
        problem=problem,
        attributes=found["entry_attributes"],
        created_at=found["entry_created_at"],
        folder=found["entry_folder"],
        item_id=found["entry_item_id"],
    )


def segment_of(row: sa.Row[Any]) -> SegmentRecord:
    """A row of ``SEGMENT_COLUMNS``."""
    return SegmentRecord(**row._mapping)


def to_blob(vector: NDArray[np.floating]) -> bytes:
    """A vector as it is kept: float16, little-endian."""
    return np.ascontiguousarray(vector, dtype=_STORED).tobytes()


def from_blobs(blobs: list[bytes], dimensions: int) -> NDArray[np.float32]:
    """Kept vectors as float32 [n, dimensions]."""
    return np.frombuffer(b"".join(blobs), _STORED).reshape(len(blobs), dimensions).astype(np.float32)
