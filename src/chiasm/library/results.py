"""What the library answers with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chiasm.stores import StoreRecord
from chiasm.stores.records import Attribute, Box


@dataclass(frozen=True, kw_only=True)
class Span:
    """A further place in the same file: characters of a text, seconds of sound and video; on a page."""

    start: float | None
    end: float | None
    snippet: str | None
    score: float
    cosine: float
    page: int | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Another file that is nearly the same as a hit, at its best place."""

    file_id: str
    name: str
    path: str | None
    item_id: str | None
    score: float
    cosine: float
    page: int | None = None


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A file that was found, at its best place.

    Attributes:
        path: where a file in reference mode lies.
        start, end: characters of a text, seconds of sound and video; ``None`` for a thing found whole.
        snippet: the passage, for text.
        score: calibrated probability of relevance, in (0, 1).
        page: of a PDF, from 1; characters then count within it.
        box: of words that were read in a picture or on the picture of a page; ``snippet`` has them.
        others: further places in the same file, best first.
        duplicates: files that show or say nearly the same, best first.
    """

    file_id: str
    name: str
    path: str | None
    modality: str
    mime: str | None
    start: float | None
    end: float | None
    snippet: str | None
    score: float
    cosine: float
    attributes: Mapping[str, Attribute]
    item_id: str | None
    segment_id: int
    page: int | None = None
    box: Box | None = None
    others: tuple[Span, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """A store and how much is in it.

    Attributes:
        files: number of files by status (``in_progress``, ``completed``, ``failed``).
        segments: number of searchable segments by modality.
    """

    store: StoreRecord
    files: Mapping[str, int]
    segments: Mapping[str, int]
    bytes: int


@dataclass(frozen=True, kw_only=True)
class FileProblem:
    """A file that could not be indexed, and why."""

    path: str
    en: str
    zh: str


@dataclass(frozen=True, kw_only=True)
class IndexReport:
    """What following a folder came to."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    failed: tuple[FileProblem, ...] = field(default_factory=tuple)
