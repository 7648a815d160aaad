"""What the image stage's pictures are to be near to, in the anchor's space."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.concepts import Concept
from chiasm.data.builders.icons import TITLED_FAMILIES
from chiasm.data.builders.palette import COLOURS
from chiasm.data.builders.parallel import with_article
from chiasm.data.builders.plan import ALONE, Placed, ViewSpec
from chiasm.data.builders.wordnet import ancestors, load_hypernyms, load_lemmas
from chiasm.data.splits import held_out
from chiasm.training.corpus import Corpus
from chiasm.training.features import FeatureSet
from chiasm.training.stages.image import Check, ImageTargets
from chiasm.training.stages.names import NameTargets

# Hypernyms that say nothing about a picture.
_VAGUE_WORDS = """
whole vertebrate carnivore placental good solid wind nutrition part portion outlet cause screen support wear
article course system matter object structure arm top reed brass consumer cover produce invertebrate arthropod
organism chordate canine feline domestic someone hose blind sign plate device artifact
"""
_VAGUE = frozenset(_VAGUE_WORDS.split())


Encode = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts → unit vectors ``[n, d]`` of the text tower."""


def name_targets(corpus: Corpus, encode: Encode) -> tuple[NameTargets, dict[str, int]]:
    """The names of all concepts and titles that are not held out, and the index of each."""
    known = [c for c in corpus.concepts if not held_out(c.name)]
    names = [c.name for c in known]
    titles = (label["title"] for family in TITLED_FAMILIES for label in corpus.gallery.labels[family])
    names += [t for t in dict.fromkeys(titles) if t not in set(names) and not held_out(t)]
    keywords, keyword_of = _keywords(known)
    targets = NameTargets(
        names=corpus.teacher.matrix(names),
        chinese=encode([c.zh[0] for c in known]),
        keywords=corpus.teacher.matrix(keywords),
        keyword_of=keyword_of,
    )
    return targets, {name: i for i, name in enumerate(names)}


def shown_name(view: ViewSpec, corpus: Corpus) -> str:
    """What the one thing on a view is called."""
    placed = view.placed[0]
    if placed.family in TITLED_FAMILIES:
        return str(corpus.gallery.labels[placed.family][placed.row]["title"])
    return corpus.concepts[placed.concept].name


def image_targets(corpus: Corpus, features: FeatureSet, encode: Encode) -> ImageTargets:
    """Targets of every training view whose features are there; ``encode`` reads Chinese."""
    concepts, plan = corpus.concepts, corpus.plan
    rows = [(row, plan[view]) for row, view in enumerate(features.views) if plan[view].split == "train"]
    names, index = name_targets(corpus, encode)

    def named(titled: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        alone = [
            (row, shown_name(view, corpus))
            for row, view in rows
            if view.kind in ALONE and (view.placed[0].family in TITLED_FAMILIES) == titled
        ]
        pairs = [(row, index[name]) for row, name in alone if name in index]
        array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return array[:, 0], array[:, 1]

    single, single_name = named(titled=False)
    titled, titled_name = named(titled=True)
    coloured = [
        (row, view.placed[0])
        for row, view in rows
        if view.kind == "coloured"
        and not held_out(coloured_name(view.placed[0], view.placed[0].colour or "", concepts))
    ]
    scenes = [(row, view) for row, view in rows if view.kind == "scene"]
    kinds, kind_of = _kinds(corpus)
    return ImageTargets(
        names=names,
        single=single,
        single_name=single_name,
        titled=titled,
        titled_name=titled_name,
        coloured=np.array([row for row, _ in coloured]),
        colour_texts=_colour_texts(corpus, [placed for _, placed in coloured]),
        scenes=np.array([row for row, _ in scenes]),
        captions=corpus.teacher.matrix([scene_caption(view, concepts) for _, view in scenes]),
        classes=class_vectors(corpus),
        chinese_classes=mean_vectors([list(entry.zh) for entry in corpus.imagenet], encode),
        kinds=corpus.teacher.matrix(kinds),
        kind_of=kind_of,
    )


def scene_caption(view: ViewSpec, concepts: Sequence[Concept]) -> str:
    """``"a dog, a cat and an apple"``."""
    things = [with_article(concepts[p.concept].name) for p in view.placed]
    return f"{', '.join(things[:-1])} and {things[-1]}"


def coloured_name(placed: Placed, colour: str, concepts: Sequence[Concept]) -> str:
    """``"a red apple"``."""
    return with_article(f"{colour} {concepts[placed.concept].name}")


def class_vectors(corpus: Corpus) -> NDArray[np.float32]:
    """Unit vectors of the ImageNet classes [1000, d]: the mean over each one's English names."""
    texts = [list(entry.en) for entry in corpus.imagenet]
    return mean_vectors(texts, corpus.teacher.matrix)


def mean_vectors(texts: Sequence[Sequence[str]], encode: Encode) -> NDArray[np.float32]:
    """Of each row of texts the unit mean of their vectors [n, d]."""
    vectors = encode([t for row in texts for t in row])
    starts = np.cumsum([0, *(len(row) for row in texts[:-1])])
    sums = np.add.reduceat(vectors, starts, axis=0)
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), dtype=np.float32)


def image_checks(corpus: Corpus, features: FeatureSet, encode: Encode) -> dict[str, Check]:
    """Validation drawings (another family): concepts seen in training, and unseen ones, among all names, in
    both languages."""
    galleries = {
        "en": corpus.teacher.matrix([c.name for c in corpus.concepts]),
        "zh": encode([c.zh[0] for c in corpus.concepts]),
    }
    rows: dict[str, list[tuple[int, int]]] = {"seen": [], "unseen": []}
    for row, number in enumerate(features.views):
        view = corpus.plan[number]
        if view.split == "validation" and view.kind == "plain":
            concept = view.placed[0].concept
            rows["unseen" if held_out(corpus.concepts[concept].name) else "seen"].append((row, concept))
    checks = {}
    for name, pairs in rows.items():
        array = np.array(pairs, dtype=np.int64)
        for language, gallery in galleries.items():
            checks[f"noto-v1 {name} {language}"] = Check(array[:, 0], gallery, array[:, 1])
    return checks


def _colour_texts(corpus: Corpus, placed: Sequence[Placed]) -> NDArray[np.float32]:
    """[m, 11, d]: each thing in its own colour first, then in the others."""
    texts = []
    for thing in placed:
        others = [c for c in COLOURS if c != thing.colour]
        texts.append([coloured_name(thing, c, corpus.concepts) for c in [thing.colour or "red", *others]])
    table = corpus.teacher.vectors([t for row in texts for t in row])
    return np.stack([np.stack([table[t] for t in row]) for row in texts])


def _keywords(concepts: Sequence[Concept]) -> tuple[list[str], NDArray[np.bool_]]:
    """All English keywords that are no held-out name, and which concept has which [n, k]."""
    of_concept = [{word for word in c.en[1:] if not held_out(word)} for c in concepts]
    keywords = sorted(set().union(*of_concept))
    return keywords, np.array([[word in own for word in keywords] for own in of_concept])


def _kinds(corpus: Corpus) -> tuple[list[str], NDArray[np.bool_]]:
    """Everyday words for what classes are kinds of, and which class is of which kind [1000, k]."""
    folder = corpus.sources.wordnet
    parents, lemmas = load_hypernyms(folder), load_lemmas(folder)
    everyday = {name for entry in corpus.glossary for name in entry.en} - _VAGUE
    of_class = [
        [next((w for w in lemmas[a][:1] if w in everyday), "") for a in ancestors(entry.category, parents)]
        for entry in corpus.imagenet
    ]
    kinds = sorted({word for words in of_class for word in words if word})
    table = np.array([[kind in words for kind in kinds] for words in of_class])
    return kinds, table
