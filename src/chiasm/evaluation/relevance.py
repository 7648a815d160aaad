"""“Nothing relevant”: what a library of a thousand items answers to queries with a match and without one.

A query has no match when nothing in the library is of its concept, or of one whose English name is near to
its own. Hits are cut off by the model's :class:`chiasm.library.relevance.Calibration`, as in a search.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.clips import make_clip
from chiasm.data.builders.glossary import load_sentences
from chiasm.data.builders.icons import TEST_FAMILY, VALIDATION_FAMILY
from chiasm.data.builders.notes import calibration_and_evaluation
from chiasm.data.builders.parallel import MOTIONS
from chiasm.data.builders.sounds import CLASSES, RATE, SoundFont
from chiasm.data.splits import held_out
from chiasm.evaluation.material import SIDE, Material, Vectors
from chiasm.evaluation.report import Row, Target, measured
from chiasm.evaluation.sounds import takes
from chiasm.evaluation.speech import espeak_voice, spoken
from chiasm.evaluation.video import FPS, FRAMES
from chiasm.library.relevance import PASSAGE, Calibration
from chiasm.modality import Audio, Video

GROUP = "relevance"
QUERIES = 200
SPOKEN = 60
ITEMS = {"image": 600, "text": 250, "audio": 100, "video": 50}
NEAR = 0.6
"""Cosine of two English names from which on one concept is not absent where the other is."""
FIRST = 10
"""Hits that a page of results shows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Vectors [n, d] and the thing that each is of [n]: a concept, or -1 - k for class k of sounds."""

    vectors: Vectors
    things: NDArray[np.int64]


def relevance(material: Material) -> list[Row]:
    """For each pair of modalities, and for words over all at once: false returns, and hits kept."""
    absent, present = _divide(material)
    if not len(present):
        return []  # to this model every name is near to every other
    items = _items(material, present)
    description = material.model.description
    calibration = Calibration.from_mapping(description.calibration, description.dimensions)
    rows: list[Row] = []
    for query_modality, (matched, unmatched) in _queries(material, absent, items).items():
        for item_modality, bank in items.items():
            rows += _pair(calibration, query_modality, {item_modality: bank}, matched, unmatched)
        rows += _pair(calibration, query_modality, items, matched, unmatched)
    return [*rows, *_notes(material, calibration)]


def _notes(material: Material, calibration: Calibration) -> Iterator[Row]:
    """Half of the notes are in the library; what is asked of the others has no match."""
    _, notes = calibration_and_evaluation(load_sentences())
    kept, away = notes[::2], notes[1::2]
    bank = Labelled(vectors=material.texts([note.text for note in kept]), things=np.arange(len(kept)))
    asked = [(text, n) for n, note in enumerate(kept) for text in note.asked]
    matched = Labelled(
        vectors=material.texts([text for text, _ in asked]), things=np.array([n for _, n in asked])
    )
    others = [text for note in away for text in note.asked]
    unmatched = Labelled(vectors=material.texts(others), things=np.full(len(others), -1))
    yield from _pair(calibration, "text", {PASSAGE: bank}, matched, unmatched)


def _divide(material: Material) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Concepts that the library has nothing of, and those that it may have: apart by NEAR in their names."""
    drawn = np.unique(material.drawings.concept)
    absent = drawn[material.sample(len(drawn), QUERIES, "absent")]
    rest = np.setdiff1d(drawn, absent)
    names = material.names("en")
    near = material.texts([names[i] for i in rest]) @ material.texts([names[i] for i in absent]).T
    return absent, rest[near.max(axis=1) < NEAR]


def _items(material: Material, present: NDArray[np.int64]) -> dict[str, Labelled]:
    rng = material.rng("library")
    pictured = rng.permutation(present)[: ITEMS["image"]]
    written = rng.permutation(present)[: ITEMS["text"]]
    moving = rng.permutation(present)[: ITEMS["video"]]
    return {
        "text": _written(material, written),
        "image": _pictured(material, pictured),
        "audio": _sounding(material, present, rng),
        "video": _moving(material, moving, rng),
    }


def _written(material: Material, concepts: NDArray[np.int64]) -> Labelled:
    """Names, English and Chinese in turn."""
    names = (material.names("en"), material.names("zh"))
    texts = [names[n % 2][c] for n, c in enumerate(concepts)]
    return Labelled(vectors=material.texts(texts), things=concepts)


def _pictured(material: Material, concepts: NDArray[np.int64]) -> Labelled:
    chosen = np.flatnonzero(np.isin(material.drawings.concept, concepts))
    return Labelled(vectors=material.drawings.vectors[chosen], things=material.drawings.concept[chosen])


def _moving(material: Material, concepts: NDArray[np.int64], rng: np.random.Generator) -> Labelled:
    shown = material.drawings
    rows = [int(shown.rows[np.flatnonzero(shown.concept == c)[0]]) for c in concepts]
    kinds = list(MOTIONS)
    clips = [
        make_clip(
            material.gallery.sprite(material.family, row),
            kinds[n % len(kinds)],
            rng,
            frames=FRAMES,
            side=SIDE,
        )
        for n, row in enumerate(rows)
    ]
    return Labelled(vectors=material.model.embed([Video(c, FPS) for c in clips]), things=concepts)


def _sounding(material: Material, present: NDArray[np.int64], rng: np.random.Generator) -> Labelled:
    """Half spoken names in both languages, half sounds of every other class."""
    count = ITEMS["audio"]
    concepts = rng.permutation([c for c in present if not held_out(material.concepts[c].name)])[: count // 2]
    parts = _spoken_names(material, concepts)
    kinds = np.arange(0, len(CLASSES), 2)[: count - count // 2]
    font = SoundFont(material.sources.soundfont)
    clips, place = takes(font, material.split, kinds, 1, material.seed)
    parts.append(
        Labelled(
            vectors=material.model.embed([Audio(clip, RATE) for clip in clips]), things=-1 - kinds[place]
        )
    )
    return _joined(parts)


def _spoken_names(material: Material, concepts: NDArray[np.int64]) -> list[Labelled]:
    parts = []
    for n, language in enumerate(("en", "zh")):
        own = concepts[n::2]
        names = material.names(language)
        heard = spoken(material, [names[c] for c in own], espeak_voice(material.split, language))
        parts.append(Labelled(vectors=heard.vectors, things=own[heard.said]))
    return parts


def _queries(
    material: Material, absent: NDArray[np.int64], items: Mapping[str, Labelled]
) -> dict[str, tuple[Labelled, Labelled]]:
    """By modality: queries whose thing is in the library, and queries without a match."""
    rng = material.rng("queries")
    things = np.unique(np.concatenate([bank.things for bank in items.values()]))
    concepts, kinds = things[things >= 0], -1 - things[things < 0]
    silent_kinds = np.setdiff1d(np.arange(len(CLASSES)), kinds)
    half = material.count(QUERIES)
    # What the small banks hold is always asked for: else their pairs would have few matches.
    small = np.concatenate([items["video"].things, items["audio"].things[items["audio"].things >= 0]])
    asked = np.unique(np.concatenate([small, rng.permutation(concepts)[:half]]))
    said = rng.permutation(concepts)[: material.count(SPOKEN)]
    return {
        "text": (
            _asked(material, asked, kinds),
            _asked(material, absent, rng.permutation(silent_kinds)[: max(1, half // 10)]),
        ),
        "image": (_shown(material, asked), _shown(material, absent)),
        "audio": (
            _joined(_spoken_names(material, said)),
            _joined(_spoken_names(material, absent[: material.count(SPOKEN)])),
        ),
    }


def _asked(material: Material, concepts: NDArray[np.int64], kinds: NDArray[np.int64]) -> Labelled:
    """Typed names, English and Chinese in turn, in the language that the written items are not in."""
    names = (material.names("zh"), material.names("en"))
    texts = [names[n % 2][c] for n, c in enumerate(concepts)]
    texts += [CLASSES[k].en if n % 2 else CLASSES[k].zh for n, k in enumerate(kinds)]
    return Labelled(vectors=material.texts(texts), things=np.concatenate([concepts, -1 - kinds]))


def _shown(material: Material, concepts: NDArray[np.int64]) -> Labelled:
    """Drawings of the concepts by another family than the library's."""
    family = VALIDATION_FAMILY if material.family == TEST_FAMILY else "noto"
    gallery = material.gallery
    wanted = set(concepts.tolist())
    rows = [r for r in range(len(gallery.labels[family])) if gallery.concept(family, r) in wanted]
    shown = material.drawings_of(family, rows)
    return Labelled(vectors=shown.vectors, things=shown.concept)


def _joined(parts: list[Labelled]) -> Labelled:
    return Labelled(
        vectors=np.concatenate([p.vectors for p in parts]), things=np.concatenate([p.things for p in parts])
    )


def _pair(
    calibration: Calibration,
    query_modality: str,
    banks: Mapping[str, Labelled],
    matched: Labelled,
    unmatched: Labelled,
) -> Iterator[Row]:
    items = sum(len(bank.things) for bank in banks.values())
    way = f"{query_modality} → {next(iter(banks)) if len(banks) == 1 else 'anything'}"
    things = np.concatenate([bank.things for bank in banks.values()])
    answered = _returns(_accepted(calibration, query_modality, banks, unmatched.vectors)[1])
    if len(answered):
        yield measured(
            GROUP,
            f"{way}: queries without a match that return anything",
            answered,
            gallery=items,
            baselines={"without a cut-off": 1.0},
            target=Target(most=0.10),
        )
    scores, accepted = _accepted(calibration, query_modality, banks, matched.vectors)
    right = matched.things[:, None] == things[None]
    had, kept = _hits(scores, accepted, right)
    if had.any():
        yield measured(
            GROUP,
            f"{way}: of those that find it in {FIRST}, keep it",
            kept[had],
            gallery=items,
            baselines={f"find it in {FIRST}": float(had[right.any(axis=1)].mean())},
            target=Target(least=0.80),
        )


def _accepted(
    calibration: Calibration, query_modality: str, banks: Mapping[str, Labelled], queries: Vectors
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores [q, items] over all banks, and which are worth showing."""
    scores, accepted = [], []
    for kind, bank in banks.items():
        cosines = queries @ bank.vectors.T
        chances = calibration.probability(cosines, queries, query_modality, kind)
        scores.append(chances)
        accepted.append(chances >= calibration.cutoff(query_modality, kind, len(bank.things)))
    return np.concatenate(scores, axis=1), np.concatenate(accepted, axis=1)


def _hits(
    scores: NDArray[np.float64], accepted: NDArray[np.bool_], right: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a right item is among the first FIRST without a cut-off, and whether one is still with it."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :FIRST]
    among = np.take_along_axis(right, order, axis=1)
    return _returns(among), _returns(among & np.take_along_axis(accepted, order, axis=1))


def _returns(marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each row [q, items] has a mark."""
    return np.asarray(marks.any(axis=1))
