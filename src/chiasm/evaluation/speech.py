"""Spoken names by voices that were never trained on, and search for pictures by saying what is wanted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders import lexicon
from chiasm.data.builders.speech import (
    FLITE_TEST,
    FLITE_VALIDATION,
    RATE,
    espeak,
    speak_flite,
    voices,
)
from chiasm.evaluation.material import Material, Vectors, distinct
from chiasm.evaluation.metrics import chance_at, one_hot, ranks, recall_at
from chiasm.evaluation.report import Row, Target, measured
from chiasm.modality import Audio

GROUP = "speech"
CLIPS = 400
UNSEEN = 150
FLITE = 150
_MIN_SECONDS = 0.1

Speak = Callable[[str, int], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Spoken:
    """Clips that could be made: which of the wanted texts each says [n], and their vectors [n, d]."""

    said: NDArray[np.int64]
    vectors: Vectors


def speech(material: Material) -> list[Row]:
    """Spoken → written name (trained names, unseen words, another synthesiser), and → pictures."""
    rows: list[Row] = []
    for language in ("en", "zh"):
        rows += _seen(material, language)
    for language in ("en", "zh"):
        rows += _unseen(material, language)
    rows += _flite(material)
    return rows


def espeak_voice(split: str, language: str) -> Speak:
    """Text, number → samples by one of the split's espeak voices."""
    cast = voices(split, language)
    return lambda text, number: espeak().speak(text, cast[number % len(cast)])


def spoken(material: Material, texts: Sequence[str], speak: Speak) -> Spoken:
    """Say texts, the voices in turn, and embed what came out; texts without a sound are left out."""
    clips = [speak(text, number) for number, text in enumerate(texts)]
    said = [i for i, clip in enumerate(clips) if len(clip) >= _MIN_SECONDS * RATE]
    vectors = material.model.embed([Audio(clips[i], RATE) for i in said])
    return Spoken(said=np.array(said, dtype=np.int64), vectors=vectors)


def names_to_say(material: Material) -> NDArray[np.int64]:
    """Concepts whose names the training could have said: those of CLDR's own table that are not held out."""
    table = lexicon.load_concepts(cldr=material.sources.package("cldr-annotations-full") / "annotations")
    said = {c.en[0].lower() for c in table if c.category == "emoji" and not c.held_out}
    return np.array([i for i, c in enumerate(material.concepts) if c.name in said], dtype=np.int64)


def unseen_words(material: Material) -> list[lexicon.Concept]:
    """Everything that has a name in both languages and was kept from all training."""
    table = lexicon.load_concepts(cldr=material.sources.package("cldr-annotations-full") / "annotations")
    return [c for c in table if c.held_out]


def _seen(material: Material, language: str) -> Iterator[Row]:
    names = material.names(language)
    gallery, column = distinct(names)
    sayable = names_to_say(material)
    chosen = sayable[material.sample(len(sayable), CLIPS, f"speech-{language}")]
    heard = spoken(material, [names[i] for i in chosen], espeak_voice(material.split, language))
    concepts = chosen[heard.said]
    right = one_hot(column[concepts], len(gallery))
    place = ranks(heard.vectors @ material.texts(gallery).T, right)
    for k, least in ((1, 0.92), (5, 0.98)):
        yield measured(
            GROUP,
            f"spoken → written name, held-out voices, R@{k}, {language}",
            recall_at(place, k),
            gallery=len(gallery),
            chance=chance_at(right, k),
            target=Target(least=least),
        )
    yield from _pictures(material, language, concepts, heard.vectors)


def _pictures(
    material: Material, language: str, concepts: NDArray[np.int64], vectors: Vectors
) -> Iterator[Row]:
    """How much is lost when pictures are searched for by the spoken instead of the typed name."""
    shown = material.drawings
    right = shown.concept[None] == concepts[:, None]
    drawn = right.any(axis=1)
    if not drawn.any():
        return
    names = material.names(language)
    typed_vectors = material.texts([names[i] for i in concepts[drawn]])
    typed = recall_at(ranks(typed_vectors @ shown.vectors.T, right[drawn]), 5)
    by_voice = recall_at(ranks(vectors[drawn] @ shown.vectors.T, right[drawn]), 5)
    yield measured(
        GROUP,
        f"pictures by spoken instead of typed name, R@5 lost, {language}",
        typed.astype(float) - by_voice.astype(float),
        gallery=len(shown.rows),
        baselines={"typed": float(typed.mean()), "spoken": float(by_voice.mean())},
        target=Target(most=0.05),
        unit="points",
    )


def _unseen(material: Material, language: str) -> Iterator[Row]:
    words = unseen_words(material)
    texts = [c.en[0] if language == "en" else c.zh[0] for c in words]
    chosen = material.sample(len(texts), UNSEEN, f"unseen-{language}")
    heard = spoken(material, [texts[i] for i in chosen], espeak_voice(material.split, language))
    gallery, column = distinct([*(texts[i].lower() for i in chosen), *material.names(language)])
    right = one_hot(column[heard.said], len(gallery))
    place = ranks(heard.vectors @ material.texts(gallery).T, right)
    yield measured(
        GROUP,
        f"spoken word never trained on → written, R@5, {language}",
        recall_at(place, 5),
        gallery=len(gallery),
        chance=chance_at(right, 5),
        target=Target(least=0.50),
    )


def _flite(material: Material) -> Iterator[Row]:
    cast = FLITE_TEST if material.split == "test" else FLITE_VALIDATION
    gallery, column = distinct(material.names("en"))
    sayable = names_to_say(material)
    chosen = sayable[material.sample(len(sayable), FLITE, "flite")]
    names = material.names("en")
    heard = spoken(
        material, [names[i] for i in chosen], lambda text, n: speak_flite(text, cast[n % len(cast)])
    )
    right = one_hot(column[chosen[heard.said]], len(gallery))
    place = ranks(heard.vectors @ material.texts(gallery).T, right)
    for k in (1, 5):
        yield measured(
            GROUP,
            f"spoken → written name, another synthesiser (flite), R@{k}, en",
            recall_at(place, k),
            gallery=len(gallery),
            chance=chance_at(right, k),
        )
