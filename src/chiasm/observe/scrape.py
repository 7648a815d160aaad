"""What Prometheus reads: the figures of all processes of a server, added up."""

from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from chiasm.observe.metrics import Metrics

FOLDER = "metrics"
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own; it reads it when it is imported


def exposition(folder: Path | None, own: Metrics, present: Collector, accept: str) -> tuple[bytes, str]:
    """The text and its content type.

    Args:
        folder: where the processes of this server keep their figures; ``None``: there is this process only.
        own: of this process; read if it is alone.
        present: what is asked for at this moment.
        accept: the request's ``Accept``: OpenMetrics, or the older text format.
    """
    registry = CollectorRegistry()
    if folder is None:
        registry.register(_Own(own.registry))
    else:
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    registry.register(present)
    encode, content_type = choose_encoder(accept)
    render: Callable[[CollectorRegistry], bytes] = encode
    return render(registry), content_type


class _Own(Collector):
    """A registry inside another."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return self._registry.collect()
