"""Mixed items: a picture and a word that changes its colour, decidable only from both.

The colour and thing pairs are held out from training, the pictures are of the split's drawing family.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.glossary import load_glossary
from chiasm.data.builders.palette import COLOURS
from chiasm.data.builders.parallel import THING_CATEGORIES, with_article
from chiasm.data.builders.views import ViewConfig, coloured_view, plain_view
from chiasm.data.splits import held_out
from chiasm.evaluation.material import SIDE, Material, Vectors
from chiasm.evaluation.metrics import chance_at, one_hot, ranks, recall_at
from chiasm.evaluation.report import Row, Target, measured
from chiasm.modality import Image, Text, item_of

GROUP = "mixed"
OBJECTS = 40
DISTRACTORS = 300
WORDS = {"en": "in {}", "zh": "{}色的"}
_COLOURS = tuple(COLOURS.values())


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Queries of one language: fused, each part alone, and the (object, colour) that each asks for [n]."""

    fused: Vectors
    picture: Vectors
    word: Vectors
    object: NDArray[np.int64]
    colour: NDArray[np.int64]

    @property
    def total(self) -> Vectors:
        """The plain sum of the parts' vectors."""
        return self.picture + self.word


def mixed(material: Material) -> list[Row]:
    """Fused R@1 among texts and among pictures, beside each part alone and the plain sum."""
    objects = objects_of(material)
    asked = [(o, c) for o, i in enumerate(objects) for c in held_colours(_name(material, i))]
    if not asked:
        return []
    tasks = {language: _task(material, objects, asked, language) for language in WORDS}
    rows: list[Row] = []
    for language, task in tasks.items():
        rows += _compared(f"texts, {language}", task, _text_gallery(material, objects, language))
    pictures = _picture_gallery(material, objects)
    for language, task in tasks.items():
        rows += _compared(f"pictures, {language}", task, pictures)
    return rows


def held_colours(name: str) -> list[int]:
    """Places of the colours in which a thing was never trained on."""
    return [i for i, c in enumerate(_COLOURS) if held_out(with_article(f"{c.en} {name}"))]


def objects_of(material: Material) -> list[int]:
    """Drawings (places in ``material.drawings``) of everyday things that training knew, those with most
    held-out colours first."""
    everyday = {n.lower() for e in load_glossary() if e.category in THING_CATEGORIES for n in e.en}
    shown = material.drawings
    found = [i for i in range(len(shown.rows)) if not shown.unseen[i] and _name(material, i) in everyday]
    found.sort(key=lambda i: (-len(held_colours(_name(material, i))), _name(material, i)))
    return found[:OBJECTS]


def _task(
    material: Material, objects: Sequence[int], asked: Sequence[tuple[int, int]], language: str
) -> Task:
    pictures = [Image(plain_view(_sprite(material, objects[o]), SIDE)) for o, _ in asked]
    terms = [_COLOURS[c].en if language == "en" else _COLOURS[c].zh for _, c in asked]
    words = [WORDS[language].format(term) for term in terms]
    items = [item_of(picture, Text(word)) for picture, word in zip(pictures, words, strict=True)]
    return Task(
        fused=material.model.embed(items),
        picture=material.drawings.vectors[[objects[o] for o, _ in asked]],
        word=material.texts(words),
        object=np.array([o for o, _ in asked]),
        colour=np.array([c for _, c in asked]),
    )


def _text_gallery(material: Material, objects: Sequence[int], language: str) -> Vectors:
    """[objects x 11 + distractors, d]: every object in every colour, then other things in one colour each."""
    texts = [_coloured(material, i, c, language) for i in objects for c in range(len(_COLOURS))]
    shown = material.drawings
    others = np.setdiff1d(np.arange(len(shown.rows)), objects)
    rng = material.rng("colour distractors")
    chosen = rng.permutation(others)[:DISTRACTORS]
    texts += [_coloured(material, int(i), int(rng.integers(len(_COLOURS))), language) for i in chosen]
    return material.texts(texts)


def _picture_gallery(material: Material, objects: Sequence[int]) -> Vectors:
    """[objects x 11, d]: every object dyed in every colour."""
    rng = material.rng("coloured pictures")
    config = ViewConfig(side=SIDE)
    pictures = [
        Image(coloured_view(_sprite(material, i), colour, rng, config)) for i in objects for colour in COLOURS
    ]
    return material.model.embed(pictures)


def _compared(what: str, task: Task, gallery: Vectors) -> Iterator[Row]:
    right = one_hot(task.object * len(_COLOURS) + task.colour, len(gallery))

    def hits(vectors: Vectors) -> NDArray[np.bool_]:
        return recall_at(ranks(vectors @ gallery.T, right), 1)

    fused, picture, word, total = hits(task.fused), hits(task.picture), hits(task.word), hits(task.total)
    parts = {"picture alone": float(picture.mean()), "word alone": float(word.mean())}
    yield measured(
        GROUP,
        f"picture + colour word → {what}, R@1",
        fused,
        gallery=len(gallery),
        chance=chance_at(right, 1),
        baselines={**parts, "sum of the vectors": float(total.mean())},
    )
    better = picture if picture.mean() >= word.mean() else word
    yield measured(
        GROUP,
        f"the same: over the better single part, {what}",
        fused.astype(float) - better.astype(float),
        gallery=len(gallery),
        target=Target(least=0.15),
        unit="points",
    )


def _coloured(material: Material, drawing: int, colour: int, language: str) -> str:
    concept = material.concepts[int(material.drawings.concept[drawing])]
    if language == "en":
        return with_article(f"{_COLOURS[colour].en} {concept.en[0]}")
    return f"{_COLOURS[colour].zh}色的{concept.zh[0]}"


def _name(material: Material, drawing: int) -> str:
    return material.concepts[int(material.drawings.concept[drawing])].name


def _sprite(material: Material, drawing: int) -> NDArray[np.uint8]:
    return material.gallery.sprite(material.family, int(material.drawings.rows[drawing]))
