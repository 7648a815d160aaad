"""One's own media: index a folder, keep it in step, search it across modalities."""

from chiasm.library.client import LibraryClient
from chiasm.library.filling import Progress
from chiasm.library.items import NewItem, PutItem
from chiasm.library.library import Library
from chiasm.library.opening import connect, open_library
from chiasm.library.relevance import Calibration, Pair, fit, kind_of
from chiasm.library.results import Duplicate, FileProblem, Hit, IndexReport, Span, StoreInfo

__all__ = [
    "Calibration",
    "Duplicate",
    "FileProblem",
    "Hit",
    "IndexReport",
    "Library",
    "LibraryClient",
    "NewItem",
    "Pair",
    "Progress",
    "PutItem",
    "Span",
    "StoreInfo",
    "connect",
    "fit",
    "kind_of",
    "open_library",
]
