"""What a web process runs: an application over clients of engine and library."""

import logging
import time
from functools import partial

from chiasm.api.admission import expect_key
from chiasm.api.app import create_app
from chiasm.api.busy import Busy
from chiasm.api.context import ApiContext
from chiasm.api.gateway import Gateway
from chiasm.api.receiving import Receiver
from chiasm.api.uploads import FOLDER as UPLOADS
from chiasm.api.uploads import sweep
from chiasm.library import LibraryClient
from chiasm.models.mini.served import served_model
from chiasm.observe.logs import log_format, start_logging
from chiasm.observe.telemetry import Telemetry
from chiasm.observe.traces import tracer_of
from chiasm.serving.addresses import folder_of
from chiasm.serving.client import EngineClient
from chiasm.serving.memory import keep_lean
from chiasm.serving.registry import Live, Registry
from chiasm.settings import Settings
from chiasm.stores import AuditLog, Keys


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
    first, registry = served_model(embedder), Registry(settings)
    telemetry = Telemetry(tracer=tracer_of(server.otlp_endpoint, "web"))
    app = create_app(
        ApiContext(
            settings=settings,
            embedder=embedder,
            preprocessor=first.preprocessor,
            registry=registry,
            others=Live(registry, lambda one: served_model(embedder.of(one.name))),
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
