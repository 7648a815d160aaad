"""The rows of the metadata store, as the layers above see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
MAX_ATTRIBUTES = 16  # of a file in a store, as OpenAI has it
Attribute = str | int | float | bool
FileMode = Literal["copy", "reference", "item"]
Status = Literal["in_progress", "completed", "failed"]


@dataclass(frozen=True, kw_only=True)
class StoreRecord:
    """A named collection; all its vectors are of one model revision.

    ``model``: the name of the model that makes them; the first that is served without one. ``shadow_of``: the
    store whose place this one is to take.
    """

    id: str
    name: str
    created_at: int
    attributes: Mapping[str, Attribute]
    revision: str | None
    dimensions: int | None
    sequence: int
    model: str | None = None
    shadow_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file that is known: copied in (``copy``), lying elsewhere (``reference``) or an item without a file.

    ``kept`` files were uploaded for themselves and outlive the stores that use them.
    """

    id: str
    name: str
    mode: FileMode
    path: str | None
    sha256: str | None
    bytes: int
    mtime_ns: int | None
    mime: str | None
    modality: str | None
    purpose: str
    kept: bool
    created_at: int


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a file is not searchable."""

    code: str
    en: str
    zh: str


@dataclass(frozen=True, kw_only=True)
class EntryRecord:
    """A file (or item) in a store. ``folder`` is the followed folder that it came from."""

    store_id: str
    file: FileRecord
    status: Status
    problem: Problem | None
    attributes: Mapping[str, Attribute]
    created_at: int
    folder: str | None
    item_id: str | None


Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class SegmentRecord:
    """A searchable part of a file: characters ``start`` to ``end`` of a text, seconds of sound and video;
    both ``None`` for a thing that is indexed whole. ``page`` of a document, from 1: characters count
    within it. ``fingerprint`` is what near-duplicates share, see ``media.fingerprint``. ``box`` of words in a
    picture: left, top, right, bottom, as shares of its width and height."""

    id: int
    file_id: str
    modality: str
    ordinal: int
    start: float | None
    end: float | None
    snippet: str | None
    page: int | None = None
    fingerprint: str | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class NewSegment:
    """A segment about to be kept; ``vector`` is float ``[dimensions]``."""

    modality: str
    vector: NDArray[np.floating]
    start: float | None = None
    end: float | None = None
    snippet: str | None = None
    page: int | None = None
    fingerprint: str | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list that is walked by cursor."""

    data: Sequence[T] = field(default_factory=tuple)
    has_more: bool = False
