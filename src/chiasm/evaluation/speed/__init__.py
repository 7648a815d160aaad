"""``chiasm bench``: how fast the toolkit is beside bare loops, and what the server costs.

Ratios are taken within one run in which both sides take turns, so that a busy machine slows both. Everything
stays on this machine (requests go to loopback only), in temporary folders, and ends by itself.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from chiasm.errors import InvalidInput
from chiasm.evaluation.report import Report, Row
from chiasm.evaluation.speed.load import load
from chiasm.evaluation.speed.pictures import pictures
from chiasm.evaluation.speed.searching import large, searching
from chiasm.evaluation.speed.serving import serving
from chiasm.evaluation.speed.subject import Subject, load_subject

__all__ = ["BENCHMARKS", "benchmark"]

BENCHMARKS: Mapping[str, Callable[[Subject], list[Row]]] = {
    "pictures": pictures,
    "searching": searching,
    "serving": serving,
    "load": load,
    "large": large,
}


def benchmark(
    model_source: str | None,
    *,
    only: Sequence[str] | None = None,
    quick: bool = False,
    log: Callable[[str], None] = lambda _line: None,
) -> Report:
    """Take the times.

    Args:
        model_source: as for :func:`chiasm.load`. only: names of benchmarks; all of them when None.
        quick: so few repetitions that it only shows that everything runs. log: told what was done.

    Raises:
        InvalidInput: a benchmark that there is not.
        CheckpointError: no such model.
    """
    unknown = [name for name in only or () if name not in BENCHMARKS]
    if unknown:
        raise InvalidInput(
            f"expected benchmarks among {', '.join(BENCHMARKS)}, got {', '.join(unknown)}",
            f"性能测试应为 {'、'.join(BENCHMARKS)} 之一，实际为 {'、'.join(unknown)}",
            param="only",
        )
    subject = load_subject(model_source, quick=quick)
    rows: list[Row] = []
    for name, run in BENCHMARKS.items():
        if not only or name in only:
            started = time.perf_counter()
            rows += run(subject)
            log(f"{name}: {time.perf_counter() - started:.0f} s")
    about = subject.model.description
    notes = ["quick: too few repetitions to judge by"] if quick else []
    return Report(model=about.name, revision=about.revision, split="speed", rows=rows, notes=notes)
