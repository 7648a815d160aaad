"""What is kept on disk: files by content, metadata and vectors in SQL, vector indexes as a cache of it."""

from chiasm.stores.audit import AuditLog
from chiasm.stores.columns import AttributeTable
from chiasm.stores.database import database_of
from chiasm.stores.files import Files, FileStore, StoredBytes
from chiasm.stores.filters import Condition, parse_filter
from chiasm.stores.graph import UsearchIndex
from chiasm.stores.key_records import Allowance, Amounts, KeyRecord, Right
from chiasm.stores.keys import Keys, keys_exist
from chiasm.stores.lock import DataDirLock, Holder, holder_of
from chiasm.stores.metadata import Metadata
from chiasm.stores.opening import open_files
from chiasm.stores.records import EntryRecord, FileRecord, NewSegment, Page, SegmentRecord, StoreRecord
from chiasm.stores.segments import Change, Indexed, Segments, other_revision
from chiasm.stores.vectors import ExactIndex, Match, VectorIndex

__all__ = [
    "Allowance",
    "Amounts",
    "AttributeTable",
    "AuditLog",
    "Change",
    "Condition",
    "DataDirLock",
    "EntryRecord",
    "ExactIndex",
    "FileRecord",
    "FileStore",
    "Files",
    "Holder",
    "Indexed",
    "KeyRecord",
    "Keys",
    "Match",
    "Metadata",
    "NewSegment",
    "Page",
    "Right",
    "SegmentRecord",
    "Segments",
    "StoreRecord",
    "StoredBytes",
    "UsearchIndex",
    "VectorIndex",
    "database_of",
    "holder_of",
    "keys_exist",
    "open_files",
    "other_revision",
    "parse_filter",
]
