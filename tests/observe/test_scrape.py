"""What one process counts alone, and what several leave behind together."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from chiasm.observe.metrics import Metrics
from chiasm.observe.processes import resident_bytes
from chiasm.observe.scrape import FOLDER_VARIABLE, exposition

COUNT = """
import sys
from chiasm.observe.metrics import Metrics
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.requests.labels("GET", "/x", "200").inc()
    metrics.queue_seconds.labels("m").observe(0.3)
"""


def samples(folder: Path | None, own: Metrics) -> dict[str, float]:
    text, content_type = exposition(folder, own, CollectorRegistry(), "")
    assert content_type.startswith("text/plain")
    families = text_string_to_metric_families(text.decode())
    return {f"{s.name}{sorted(s.labels.values())}": s.value for family in families for s in family.samples}


def test_processes_that_are_dead_still_count(tmp_path: Path):
    for times in (3, 4):
        subprocess.run(
            [sys.executable, "-c", COUNT, str(times)],
            env={**os.environ, FOLDER_VARIABLE: str(tmp_path)},
            check=True,
        )
    found = samples(tmp_path, Metrics())
    assert found["chiasm_http_requests_total['/x', '200', 'GET']"] == 7
    assert found["chiasm_queue_seconds_count['m']"] == 7
    assert found["chiasm_queue_seconds_bucket['0.5', 'm']"] == 7
    assert found["chiasm_queue_seconds_bucket['0.25', 'm']"] == 0


def test_a_process_that_is_alone_tells_its_own():
    metrics = Metrics()
    metrics.rejected.labels("queue_full").inc(2)
    assert samples(None, metrics)["chiasm_http_rejected_total['queue_full']"] == 2


def test_memory_is_that_of_a_process_and_its_children(tmp_path: Path):
    def process(pid: int, pages: int, *children: int) -> None:
        task = tmp_path / str(pid) / "task" / str(pid)
        task.mkdir(parents=True)
        (tmp_path / str(pid) / "statm").write_text(f"9999 {pages} 1 1 0 1 0")
        (task / "children").write_text(" ".join(map(str, children)))

    process(1, 10, 2, 3)
    process(2, 5, 1)  # a loop ends, too
    process(3, 7)
    import resource

    assert resident_bytes(3, tmp_path) == 7 * resource.getpagesize()
    assert resident_bytes(4, tmp_path) == 0
    assert resident_bytes(1, tmp_path) == 22 * resource.getpagesize()
    assert resident_bytes(os.getpid()) > 1_000_000
