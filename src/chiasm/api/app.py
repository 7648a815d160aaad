"""The application: one blueprint a resource, and what every request passes through."""

import os
from typing import Any

from flask import Flask, request

from chiasm.api.admission import register_admission
from chiasm.api.auditing import register_auditing
from chiasm.api.bodies import give_upload_slot_back
from chiasm.api.context import EXTENSION, ApiContext, ApiState, stream_slots, upload_slots
from chiasm.api.errors import LastResort, register_errors
from chiasm.api.gateway import REFUSAL
from chiasm.api.model import register_timings
from chiasm.api.passes import Passes
from chiasm.api.pool import DecodePool
from chiasm.api.routes import (
    batches,
    classify,
    documents,
    embeddings,
    entries,
    explain,
    file_batches,
    files,
    health,
    items,
    jobs,
    locate,
    metrics,
    models,
    rerank,
    search,
    session,
    similarity,
    stores,
    vqa,
)
from chiasm.api.security import register_security
from chiasm.api.uploads import StreamingRequest
from chiasm.api.watching import register_counting, register_watching
from chiasm.api.web import blueprint as web

MIN_DECODE_THREADS, MAX_DECODE_THREADS = 4, 8
SPARE_DECODE_THREADS = 2  # that one request leaves to the others
FETCH_THREADS, FETCH_SHARE = 16, 4  # fetching mostly waits
BLUEPRINTS = (
    health.blueprint,
    documents.blueprint,
    session.blueprint,
    models.blueprint,
    embeddings.blueprint,
    classify.blueprint,
    similarity.blueprint,
    rerank.blueprint,
    vqa.blueprint,
    explain.blueprint,
    locate.blueprint,
    files.blueprint,
    stores.blueprint,
    entries.blueprint,
    file_batches.blueprint,
    items.blueprint,
    search.blueprint,
    jobs.blueprint,
    batches.blueprint,
    metrics.blueprint,
    web,
)


def create_app(context: ApiContext) -> Flask:
    """The Flask application over this context; several may live in one process."""
    # static files come with the page's blueprint; Flask's own folder would be one more way in
    app = Flask("chiasm.api", static_folder=None)
    app.request_class = StreamingRequest
    app.config["MAX_CONTENT_LENGTH"] = context.settings.limits.body_bytes
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # nothing here answers other sites' pre-flights
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    decode_threads = min(MAX_DECODE_THREADS, max(MIN_DECODE_THREADS, os.cpu_count() or 1))
    requests = max(1, context.settings.server.threads)
    app.extensions[EXTENSION] = ApiState(
        context=context,
        decoding=DecodePool(decode_threads, requests, share=decode_threads - SPARE_DECODE_THREADS),
        # slow addresses must not get hold of all the threads that answer requests
        fetching=DecodePool(FETCH_THREADS, max(1, requests // 2), share=FETCH_SHARE),
        uploads=upload_slots(context.settings.limits),
        streams=stream_slots(context.settings.limits),
        started_at=int(context.clock()),
        passes=None if context.keys is None else Passes(context.keys.seal(), context.clock),
    )
    register_counting(app, context.telemetry)
    register_errors(app)
    register_security(app, context.settings.server)
    register_admission(app)
    register_auditing(app)
    register_watching(app, context.telemetry)
    register_timings(app)
    app.before_request(_refuse)
    app.teardown_request(_end)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    app.wsgi_app = LastResort(app.wsgi_app)  # type: ignore[method-assign]  # as Flask documents middleware
    return app


def _refuse() -> None:
    """Raise what the gateway found wrong already."""
    if REFUSAL in request.environ:
        raise request.environ[REFUSAL]


def _end(_error: BaseException | None = None, *_: Any) -> None:
    give_upload_slot_back()
