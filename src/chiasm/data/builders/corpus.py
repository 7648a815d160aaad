"""Build the whole corpus of the default model in one folder; what is there already is not built again."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from chiasm.data.builders import lexicon, spoken
from chiasm.data.builders.concepts import load_concepts
from chiasm.data.builders.glossary import load_glossary, load_imagenet
from chiasm.data.builders.glyphs import glyphs
from chiasm.data.builders.icons import (
    INK_FAMILIES,
    TEST_FAMILY,
    TRAIN_FAMILIES,
    VALIDATION_FAMILY,
    drawings_of,
    render,
)
from chiasm.data.builders.plan import Gallery, PlanConfig, make_plan, save_plan
from chiasm.data.builders.sounds import build_sounds
from chiasm.data.builders.sources import Sources, bring

SPOKEN_ROUNDS = 4
"""How many times every name is spoken, each time by other voices."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
FAMILIES = (*TRAIN_FAMILIES, *INK_FAMILIES, VALIDATION_FAMILY, TEST_FAMILY, "clipart")


def build(folder: Path, *, jobs: int, rounds: int = 1, say: Callable[[str], None] = print) -> dict[str, int]:
    """Bring the sources and make everything that training reads.

    Args:
        folder: gets ``sources``, ``pictures``, ``plan.jsonl`` and ``audio``.
        jobs: processes for rendering.
        rounds: of painted views in the plan, see :class:`PlanConfig`.
        say: told of each step.

    Returns:
        How many of each there are.

    Raises:
        DataError: a source is missing and cannot be had.
    """
    sources = bring(folder / "sources")
    concepts = load_concepts(sources)
    counts = {"concepts": len(concepts)}
    for family in FAMILIES:
        say(f"drawings: {family}")
        drawings = drawings_of(family, sources, concepts)
        counts[family] = render(family, drawings, folder / "pictures", jobs)
    say("drawings: glyphs")
    names = {name for concept in concepts for name in concept.en}
    names |= {name for entry in (*load_glossary(), *load_imagenet()) for name in entry.en}
    counts["glyphs"] = render("glyphs", glyphs(sources, names), folder / "pictures", jobs)
    plan_path = folder / "plan.jsonl"
    if not plan_path.exists():
        save_plan(make_plan(Gallery(folder / "pictures"), concepts, PlanConfig(rounds=rounds)), plan_path)
    counts |= _build_audio(folder / "audio", sources, jobs, say)
    return counts


def _build_audio(folder: Path, sources: Sources, jobs: int, say: Callable[[str], None]) -> dict[str, int]:
    folder.mkdir(parents=True, exist_ok=True)
    phrase_path = folder / "phrases.json"
    if not phrase_path.exists():
        cldr = sources.package("cldr-annotations-full") / "annotations"
        phrases = spoken.phrases_of(lexicon.load_concepts(cldr=cldr, sentences=True))
        say(f"speech: {len(phrases)} phrases, held-out voices first")
        spoken.build_checks(folder, phrases)
        # Written last: a folder that has it holds the checks too.
        spoken.write_phrases(phrase_path, phrases)
    missing = [n for n in range(SPOKEN_ROUNDS) if not (folder / f"train-{n:02d}.npz").exists()]
    if missing:
        say(f"speech: {len(missing)} rounds")
        _speak_rounds(folder, missing, jobs)
    if not (folder / "sounds.json").exists():
        say("sounds")
        build_sounds(folder)
    return {"phrases": len(spoken.read_phrases(phrase_path))}


def _speak_rounds(folder: Path, numbers: Sequence[int], jobs: int) -> None:
    """Each round in a process of its own: espeak keeps global state, and a process may have only one. They
    share the cores, so each one's matrix products stay on one thread."""
    threads = {name: os.environ.get(name) for name in _THREADS}
    os.environ |= dict.fromkeys(_THREADS, "1")  # read when a new process loads its libraries
    try:
        with ProcessPoolExecutor(min(jobs, len(numbers)), multiprocessing.get_context("spawn")) as pool:
            list(pool.map(_speak_round, [folder] * len(numbers), numbers))
    finally:
        for name, value in threads.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _speak_round(folder: Path, number: int) -> None:
    spoken.build_round(folder, spoken.read_phrases(folder / "phrases.json"), number)
