"""What the application is given, and what one process of it holds."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from flask import current_app

from chiasm.api.passes import Passes
from chiasm.api.pool import DecodePool
from chiasm.api.ports import LibraryApi, ModelApi
from chiasm.errors import Overloaded
from chiasm.library import Calibration
from chiasm.observe.telemetry import Telemetry
from chiasm.preprocess import Embedder
from chiasm.preprocess.late import Prepares
from chiasm.serving.registry import Registry
from chiasm.settings import Limits, Settings
from chiasm.stores import AuditLog, Keys


@dataclass(frozen=True, kw_only=True)
class ApiContext:
    """Everything the routes work with.

    Attributes:
        settings: the one settings tree.
        embedder: the engine's client, or a model in this process.
        preprocessor: of the embedder's model; thread-safe.
        others: further models, by name.
        registry: where models are added; without one, none can be.
        library: the library's client, or a library in this process, which indexes within the request and has
            no jobs to ask about.
        clock: seconds since the epoch.
        keys: of those who may come in; without, everybody may.
        audit: where it is written down what was done.
        telemetry: where this process counts and traces.
        folder: where the processes of this server meet; ``None``: this is the only one.
    """

    settings: Settings
    embedder: Embedder
    preprocessor: Prepares
    library: LibraryApi
    others: Mapping[str, ModelApi] = field(default_factory=dict)
    registry: Registry | None = None
    clock: Callable[[], float] = time.time
    keys: Keys | None = None
    audit: AuditLog | None = None
    telemetry: Telemetry = field(default_factory=Telemetry)
    folder: Path | None = None


class Slots:
    """A bound on how many of something go on at a time; the one too many is refused at once.

    Args:
        slots: how many.
        what: they are, in English and in Chinese.
        limit: the setting.
        code: of the refusal.
    """

    def __init__(self, slots: int, what: tuple[str, str], *, limit: str, code: str) -> None:
        self._slots = slots
        self._what = what
        self._limit = limit
        self._code = code
        self._free = threading.BoundedSemaphore(max(1, slots))

    def take(self) -> None:
        """Take a slot, to be given back by :meth:`give_back`.

        Raises:
            Overloaded: none is free.
        """
        if not self._free.acquire(blocking=False):
            raise Overloaded(
                f"{self._slots} {self._what[0]} already ({self._limit})",
                f"已有 {self._slots} {self._what[1]}（{self._limit}）",
                code=self._code,
                retry_after=2.0,
            )

    def give_back(self) -> None:
        """Free the slot."""
        self._free.release()


def upload_slots(limits: Limits) -> Slots:
    """For uploads."""
    return Slots(
        limits.uploads,
        ("uploads are in progress", "个上传正在进行"),
        limit="limits.uploads",
        code="too_many_uploads",
    )


def stream_slots(limits: Limits) -> Slots:
    """For streams of events."""
    return Slots(
        limits.event_streams,
        ("jobs are being followed", "个任务正在被跟踪"),
        limit="limits.event_streams",
        code="too_many_streams",
    )


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
    uploads: Slots
    streams: Slots
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
