"""Build the whole corpus of the default model in one folder; what is there already is not built again."""

from collections.abc import Callable
from pathlib import Path

from chiasm.data.builders import lexicon, spoken
from chiasm.data.builders.concepts import load_concepts
from chiasm.data.builders.icons import TEST_FAMILY, TRAIN_FAMILIES, VALIDATION_FAMILY, build_family
from chiasm.data.builders.plan import Gallery, PlanConfig, make_plan, save_plan
from chiasm.data.builders.sounds import build_sounds
from chiasm.data.builders.sources import Sources, bring

SPOKEN_ROUNDS = 4
"""How many times every name is spoken, each time by other voices."""
FAMILIES = (*TRAIN_FAMILIES, VALIDATION_FAMILY, TEST_FAMILY, "clipart")


def build(folder: Path, *, jobs: int, say: Callable[[str], None] = print) -> dict[str, int]:
    """Bring the sources and make everything that training reads.

    Args:
        folder: gets ``sources``, ``pictures``, ``plan.jsonl`` and ``audio``.
        jobs: processes for rendering.
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
        counts[family] = build_family(family, sources, concepts, folder / "pictures", jobs)
    plan_path = folder / "plan.jsonl"
    if not plan_path.exists():
        save_plan(make_plan(Gallery(folder / "pictures"), concepts, PlanConfig()), plan_path)
    counts |= _build_audio(folder / "audio", sources, say)
    return counts


def _build_audio(folder: Path, sources: Sources, say: Callable[[str], None]) -> dict[str, int]:
    folder.mkdir(parents=True, exist_ok=True)
    phrase_path = folder / "phrases.json"
    if not phrase_path.exists():
        cldr = sources.package("cldr-annotations-full") / "annotations"
        phrases = spoken.phrases_of(lexicon.load_concepts(cldr=cldr, sentences=True))
        say(f"speech: {len(phrases)} phrases, held-out voices first")
        spoken.build_checks(folder, phrases)
        # Written last: a folder that has it holds the checks too.
        spoken.write_phrases(phrase_path, phrases)
    phrases = spoken.read_phrases(phrase_path)
    for number in range(SPOKEN_ROUNDS):
        if not (folder / f"train-{number:02d}.npz").exists():
            say(f"speech: round {number + 1} of {SPOKEN_ROUNDS}")
            spoken.build_round(folder, phrases, number)
    if not (folder / "sounds.json").exists():
        say("sounds")
        build_sounds(folder)
    return {"phrases": len(phrases)}
