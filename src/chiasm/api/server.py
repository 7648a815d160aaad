"""What a web process runs: an application over clients of engine and library."""

import logging
import time
from collections.abc import Callable
from functools import partial
from threading import Lock

from chiasm.api.admission import expect_key
from chiasm.api.app import create_app
from chiasm.api.busy import Busy
from chiasm.api.context import ApiContext
from chiasm.api.gateway import Gateway
from chiasm.api.ports import ItemPreprocessor
from chiasm.api.receiving import Receiver
from chiasm.api.uploads import FOLDER as UPLOADS
from chiasm.api.uploads import sweep
from chiasm.library import LibraryClient
from chiasm.modality import Item
from chiasm.models.mini.recogniser import recogniser_of
from chiasm.observe.logs import log_format, start_logging
from chiasm.observe.telemetry import Telemetry
from chiasm.observe.traces import tracer_of
from chiasm.preprocess import Embedder, ModelDescription, PreparedItem, Preprocessor
from chiasm.serving.addresses import folder_of
from chiasm.serving.client import EngineClient
from chiasm.serving.memory import keep_lean
from chiasm.settings import Settings
from chiasm.stores import AuditLog, Keys


def preprocessor_of(description: ModelDescription) -> ItemPreprocessor:
    """The preprocessor of a model, with ears if the model has a lexicon."""
    return Preprocessor(description, recogniser_of(description))


class EnginePreprocessor:
    """Prepares items for whatever model the engine has; made when the engine first answers, anew for another.

    Args:
        embedder: the engine's client.
        make: the preprocessor of a model.
    """

    def __init__(
        self, embedder: Embedder, make: Callable[[ModelDescription], ItemPreprocessor] = preprocessor_of
    ) -> None:
        self._embedder = embedder
        self._make = make
        self._made: tuple[ModelDescription, ItemPreprocessor] | None = None
        self._lock = Lock()

    def prepare(self, item: Item) -> PreparedItem:
        """The item as the engine's model takes it.

        Raises:
            InvalidInput: a modality that the model does not take.
            Overloaded: the engine is not there.
        """
        description = self._embedder.description
        with self._lock:
            if self._made is None or self._made[0] is not description:
                self._made = (description, self._make(description))
            preprocessor = self._made[1]
        return preprocessor.prepare(item)


def application(settings: Settings, engine: str, library: str) -> Gateway:
    """The application of one web process; engine and library may come later than it."""
    start_logging(log_format(settings.server.log_format), "web")
    logging.captureWarnings(True)
    keep_lean()
    sweep(settings.library.data_dir, time.time())
    server, data_dir = settings.server, settings.library.data_dir
    keys = Keys(data_dir)
    audit = (
        AuditLog(data_dir, max_bytes=server.audit_bytes, files=server.audit_files)
        if server.audit_bytes
        else None
    )
    embedder = EngineClient(engine, timeout=settings.server.deadline)
    telemetry = Telemetry(tracer=tracer_of(server.otlp_endpoint, "web"))
    app = create_app(
        ApiContext(
            settings=settings,
            embedder=embedder,
            preprocessor=EnginePreprocessor(embedder),
            library=LibraryClient(library, timeout=settings.server.deadline),
            keys=keys,
            audit=audit,
            telemetry=telemetry,
            folder=folder_of(engine),
        )
    )
    deadline = settings.server.deadline
    receiver = Receiver(settings.limits, settings.library.data_dir / UPLOADS, deadline)

    def close() -> None:
        if audit is not None:
            audit.close()
        keys.close()

    return Gateway(
        app,
        receiver,
        threads=max(1, server.threads),
        places=server.backlog,
        patience=deadline,
        busy=Busy(app, telemetry.metrics),
        knock=partial(expect_key, keys),
        on_close=close,
    )
