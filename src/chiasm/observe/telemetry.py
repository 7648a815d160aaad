"""Figures and spans of one process, as the code that works is given them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client import Histogram

from chiasm.observe.metrics import Metrics
from chiasm.observe.traces import Span, Tracer


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """Where a process counts and traces; by default nobody looks."""

    metrics: Metrics = field(default_factory=Metrics)
    tracer: Tracer = field(default_factory=Tracer)

    @contextmanager
    def step(self, name: str, seconds: Histogram) -> Iterator[Span]:
        """A span that is also timed, however it ends."""
        begun = time.perf_counter()
        try:
            with self.tracer.span(name) as span:
                yield span
        finally:
            seconds.observe(time.perf_counter() - begun)
