"""What is asked for at the moment when Prometheus looks: queue, memory, library, jobs."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chiasm.api.context import ApiContext
from chiasm.errors import ChiasmError
from chiasm.jobs.records import STATUSES
from chiasm.library.figures import LibraryFigures
from chiasm.observe.processes import resident_by_name
from chiasm.serving.packing import EngineStatus
from chiasm.serving.specs import STATE_FILE, read_state

logger = logging.getLogger(__name__)

STATUS_SECONDS = 1.0


@runtime_checkable
class HasStatus(Protocol):
    """An embedder in another process."""

    def status(self, *, timeout: float = 5.0) -> EngineStatus:
        """How it is doing."""


@runtime_checkable
class HasFigures(Protocol):
    """A library in another process."""

    def figures(self, *, timeout: float = 1.0) -> LibraryFigures:
        """How large it is."""


class Present(Collector):
    """Families of figures about this moment; of what does not answer only that."""

    def __init__(self, ready: ApiContext) -> None:
        self._ready = ready

    def collect(self) -> Iterator[Metric]:
        """Called at each scrape."""
        up = GaugeMetricFamily("chiasm_up", "Whether a process answers.", labels=["process"])
        for process, ask in (("engine", self._engine), ("library", self._library)):
            try:
                found = list(ask())
                up.add_metric([process], 1)
                yield from found
            except ChiasmError as error:
                logger.debug("the %s has no figures: %s", process, error.en)
                up.add_metric([process], 0)
        yield up
        if self._ready.folder is not None:
            yield from of_processes(self._ready.folder)

    def _engine(self) -> Iterable[Metric]:
        description = self._ready.embedder.description
        about = GaugeMetricFamily(
            "chiasm_model_info", "The model that is served.", labels=["model", "revision", "backend"]
        )
        about.add_metric([description.name, description.revision, description.backend], 1)
        yield about
        if not isinstance(self._ready.embedder, HasStatus):
            return
        status = self._ready.embedder.status(timeout=STATUS_SECONDS)
        for name, text, value in (
            ("chiasm_queue_items", "Items that wait in the engine's queue.", status.queue_length),
            ("chiasm_queue_cost", "Their cost.", status.queue_cost),
            ("chiasm_engine_busy_seconds", "Age of the present batch.", status.busy_seconds),
            ("chiasm_engine_uptime_seconds", "Since the engine started.", status.uptime),
            ("chiasm_engine_stuck", "Whether a batch runs too long.", status.stuck),
        ):  # fmt: skip
            yield GaugeMetricFamily(name, text, value=float(value))

    def _library(self) -> Iterable[Metric]:
        library: Any = self._ready.library
        if not isinstance(library, HasFigures):
            return
        figures = library.figures(timeout=STATUS_SECONDS)
        items = GaugeMetricFamily(
            "chiasm_library_items", "Files and items, by store.", labels=["store", "modality"]
        )
        for store, modality, count in figures.items:
            items.add_metric([store, modality], count)
        yield items
        jobs = GaugeMetricFamily("chiasm_jobs", "The latest 1000 jobs, by state.", labels=["state"])
        for state in STATUSES:
            jobs.add_metric([state], figures.jobs.get(state, 0))
        yield jobs


def of_processes(
    folder: Path, measure: Callable[[dict[str, int]], dict[str, int]] = resident_by_name
) -> Iterator[Metric]:
    """Restarts and memory, as the supervisor knows its children."""
    state = read_state(folder / STATE_FILE)
    if state is None:
        return
    restarts = CounterMetricFamily(
        "chiasm_process_restarts", "How often a process was started again.", labels=["process"]
    )
    for name, child in state.children.items():
        restarts.add_metric([name], child.restarts)
    yield restarts
    memory = GaugeMetricFamily(
        "chiasm_process_resident_memory_bytes",
        "Resident memory of a process and those that it started.",
        labels=["process"],
    )
    pids = {name: child.pid for name, child in state.children.items() if child.pid is not None}
    for name, size in measure(pids).items():
        memory.add_metric([name], size)
    yield memory
