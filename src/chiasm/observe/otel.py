"""Spans by OpenTelemetry, sent to a collector over OTLP/HTTP. Needs the extra ``otel``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chiasm.observe.carried import REQUEST_ID, TRACEPARENT, Carried, carried, carrying
from chiasm.observe.traces import Span, Tracer, Value

SEND_MILLISECONDS = 1000  # a process that is killed loses no more than this
GIVE_UP_SECONDS = 5
KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}


class _OtelSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)


class OtelTracer(Tracer):
    """Traces whatever is asked of it; what the parent is, :func:`~chiasm.observe.carried.carried` says.

    Args:
        endpoint: base address of a collector; spans go to ``/v1/traces`` there.
        process: name of the process among those of the server.
    """

    def __init__(self, endpoint: str, process: str) -> None:
        resource = Resource.create(
            {
                "service.name": "chiasm",
                "service.version": version("chiasm"),
                "service.instance.id": f"{process}-{os.getpid()}",
                "chiasm.process": process,
            }
        )
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=GIVE_UP_SECONDS)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=SEND_MILLISECONDS)
        )
        self._tracer = self._provider.get_tracer("chiasm")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, kind: str = "internal") -> Iterator[Span]:
        """See :class:`Tracer`."""
        outside = carried()
        with self._tracer.start_as_current_span(
            name, context=self._context(outside), kind=KINDS[kind], attributes=_named(outside)
        ) as span:
            inside: dict[str, str] = {}
            self._propagator.inject(inside)
            with carrying({**outside, TRACEPARENT: inside[TRACEPARENT]}):
                yield _OtelSpan(span)

    def record(self, name: str, *, begun: float, ended: float, parent: Carried, **attributes: Value) -> None:
        """See :class:`Tracer`."""
        span = self._tracer.start_span(
            name,
            context=self._context(parent),
            start_time=int(begun * 1e9),
            attributes={**_named(parent), **attributes},
        )
        span.end(end_time=int(ended * 1e9))

    def close(self) -> None:
        """See :class:`Tracer`."""
        self._provider.shutdown()

    def _context(self, parent: Carried) -> Context:
        return self._propagator.extract({TRACEPARENT: parent.get(TRACEPARENT, "")})


def _named(values: Carried) -> dict[str, str]:
    return {"chiasm.request_id": values[REQUEST_ID]} if REQUEST_ID in values else {}
