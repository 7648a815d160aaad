"""What the application is given, and what one process of it holds."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from flask import current_app

from chiasm.api.passes import Passes
from chiasm.api.pool import DecodePool
from chiasm.api.ports import ItemPreprocessor, LibraryApi
from chiasm.errors import Overloaded
from chiasm.library import Calibration
from chiasm.preprocess import Embedder
from chiasm.settings import Settings
from chiasm.stores import AuditLog, Keys


@dataclass(frozen=True, kw_only=True)
class ApiContext:
    """Everything the routes work with.

    Attributes:
        settings: the one settings tree.
        embedder: the engine's client, or a model in this process.
        preprocessor: of the embedder's model; thread-safe.
        library: the library's client, or a library in this process, which indexes within the request and has
            no jobs to ask about.
        clock: seconds since the epoch.
        keys: of those who may come in; without, everybody may.
        audit: where it is written down what was done.
    """

    settings: Settings
    embedder: Embedder
    preprocessor: ItemPreprocessor
    library: LibraryApi
    clock: Callable[[], float] = time.time
    keys: Keys | None = None
    audit: AuditLog | None = None


class UploadSlots:
    """A bound on uploads in progress; the one too many is refused at once."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._free = threading.BoundedSemaphore(max(1, slots))

    def take(self) -> None:
        """Take a slot, to be given back by :meth:`give_back`.

        Raises:
            Overloaded: none is free.
        """
        if not self._free.acquire(blocking=False):
            raise Overloaded(
                f"{self._slots} uploads are in progress already (limits.uploads)",
                f"已有 {self._slots} 个上传正在进行（limits.uploads）",
                code="too_many_uploads",
                retry_after=2.0,
            )

    def give_back(self) -> None:
        """Free the slot."""
        self._free.release()


@dataclass(frozen=True, kw_only=True)
class ApiState:
    """The context and what hangs on one application object.

    Attributes:
        decoding: for inputs that are here.
        fetching: for inputs that lie at an address and may be slow to come.
        passes: for pages that show files, where there may be keys.
        calibrations: of the models seen, by revision.
    """

    context: ApiContext
    decoding: DecodePool
    fetching: DecodePool
    uploads: UploadSlots
    started_at: int
    passes: Passes | None = None
    calibrations: dict[str, Calibration] = field(default_factory=dict)


EXTENSION = "chiasm"


def state() -> ApiState:
    """The state of the application that answers the present request."""
    return cast(ApiState, current_app.extensions[EXTENSION])


def context() -> ApiContext:
    """What the application was given."""
    return state().context
