"""How much the English recogniser should count against what the audio tower spells.

    python benchmarks/listening.py [--data runs/mini] [--people FOLDER] [--weights 0 1.5 2 4] [--model FOLDER]

Prints R@1 / R@5 among all names of the language and all that is said, for validation voices and for
recordings in FOLDER that are named after the word that each says (``seven.wav``). It is for choosing a weight
(decision 0010), so give it no test data.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.lexicon import Concept, load_concepts
from chiasm.data.builders.sources import Sources
from chiasm.data.builders.speech import FLITE_VALIDATION, RATE, speak_flite
from chiasm.evaluation.material import distinct
from chiasm.evaluation.metrics import one_hot, ranks, recall_at
from chiasm.evaluation.speech import espeak_voice
from chiasm.evaluation.speed.subject import Subject, load_subject
from chiasm.modality import Audio
from chiasm.models.mini.listener import LexiconListener

Said = list[tuple[str, Audio | Path]]
MIN_SAMPLES = 1600


def said(texts: Sequence[str], count: int, speak: Callable[[str, int], NDArray[np.float32]]) -> Said:
    """Some of the texts, each by the next voice."""
    chosen = np.random.default_rng(3).permutation(len(texts))[:count]
    clips = [(texts[i], speak(texts[i], number)) for number, i in enumerate(chosen)]
    return [(text, Audio(clip, RATE)) for text, clip in clips if len(clip) >= MIN_SAMPLES]


def material(concepts: Sequence[Concept], people: Path | None) -> dict[str, Said]:
    """What is said, by set."""
    known = [c for c in concepts if not c.held_out and c.category == "emoji"]
    unseen = [c for c in concepts if c.held_out]
    english = espeak_voice("validation", "en")
    sets = {
        "en": said([c.en[0] for c in known], 150, english),
        "en, new words": said([c.en[0] for c in unseen], 100, english),
        "zh": said([c.zh[0] for c in known], 80, espeak_voice("validation", "zh")),
        "flite": said(
            [c.en[0] for c in known], 40, lambda text, n: speak_flite(text, FLITE_VALIDATION[n % 2])
        ),
    }
    if people is not None:
        sets["people"] = [(path.stem, path) for path in sorted(people.iterdir()) if path.is_file()]
    return sets


def found(subject: Subject, heard: Said, names: Sequence[str]) -> str:
    """R@1 / R@5 of one set."""
    gallery, column = distinct([*(text.lower() for text, _ in heard), *(name.lower() for name in names)])
    vectors = subject.model.embed([clip for _, clip in heard])
    place = ranks(vectors @ subject.model.embed(gallery).T, one_hot(column[: len(heard)], len(gallery)))
    return " / ".join(f"{100 * recall_at(place, k).mean():.0f}" for k in (1, 5))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/mini"))
    parser.add_argument("--people", type=Path)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 1.5, 1.7, 2.0, 4.0])
    parser.add_argument("--model")
    given = parser.parse_args()
    concepts = load_concepts(
        cldr=Sources(npm=given.data / "sources").package("cldr-annotations-full") / "annotations"
    )
    names = {"en": [c.en[0] for c in concepts], "zh": [c.zh[0] for c in concepts]}
    subject = load_subject(given.model)
    listener = subject.module.listener
    assert isinstance(listener, LexiconListener), "a model that has a lexicon"
    sets = material(concepts, given.people)
    print("| weight | " + " | ".join(f"{name}, {len(heard)}" for name, heard in sets.items()) + " |")
    print("|---" * (1 + len(sets)) + "|")
    for weight in given.weights:
        listener.config = dataclasses.replace(listener.config, transcript=weight)
        cells = [found(subject, heard, names["zh" if name == "zh" else "en"]) for name, heard in sets.items()]
        print(f"| {weight:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
