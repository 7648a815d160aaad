"""Spans: what was done when, as part of what. Nothing here traces; :mod:`chiasm.observe.otel` does."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Protocol

from chiasm.errors import SettingsError
from chiasm.observe.carried import Carried

Value = str | int | float | bool


class Span(Protocol):
    """A span under way."""

    def set(self, name: str, value: Value) -> None:
        """Add an attribute."""

    def rename(self, name: str) -> None:
        """Call it something else."""


class _NoSpan(AbstractContextManager["_NoSpan"]):
    def set(self, name: str, value: Value) -> None:
        return

    def rename(self, name: str) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return


_NO_SPAN = _NoSpan()


class Tracer:
    """Traces nothing, at no cost."""

    def span(self, name: str, kind: str = "internal") -> AbstractContextManager[Span]:
        """What happens inside, as part of what is carried; inside, the new span is."""
        return _NO_SPAN

    def record(self, name: str, *, begun: float, ended: float, parent: Carried, **attributes: Value) -> None:
        """A span that is over; ``begun`` and ``ended`` in seconds since the epoch."""

    def close(self) -> None:
        """Send what is not sent yet."""


@contextmanager
def tracing(endpoint: str, process: str) -> Iterator[Tracer]:
    """The tracer of a process, until the process ends.

    Args:
        endpoint: of an OTLP/HTTP collector, such as ``http://127.0.0.1:4318``; empty: nothing is traced.
        process: ``web``, ``engine`` or ``library``.
    """
    tracer = tracer_of(endpoint, process)
    try:
        yield tracer
    finally:
        tracer.close()


def tracer_of(endpoint: str, process: str) -> Tracer:
    """As :func:`tracing`, for as long as the process lives."""
    if not endpoint:
        return Tracer()
    expect_traceable(endpoint)
    from chiasm.observe.otel import OtelTracer  # noqa: PLC0415  (costs time and memory)

    return OtelTracer(endpoint, process)


def expect_traceable(endpoint: str) -> None:
    """Whether spans can be sent to ``endpoint``.

    Raises:
        SettingsError: not an http(s) address, or OpenTelemetry is not installed.
    """
    if not endpoint:
        return
    if not endpoint.startswith(("http://", "https://")):
        raise SettingsError(
            f"server.otlp_endpoint: expected an http(s) address, got {endpoint!r}",
            f"server.otlp_endpoint：应为 http(s) 地址，实际为 {endpoint!r}",
            param="server.otlp_endpoint",
        )
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        raise SettingsError(
            "server.otlp_endpoint: expected OpenTelemetry to be installed; pip install 'chiasm[otel]'",
            "server.otlp_endpoint：需要先安装 OpenTelemetry：pip install 'chiasm[otel]'",
            param="server.otlp_endpoint",
        )
