"""What the image stage's pictures are to be near to, and what it must not be told."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chiasm.data.builders.glossary import Entry
from chiasm.data.builders.palette import COLOURS
from chiasm.data.builders.plan import make_plan
from chiasm.data.splits import held_out
from chiasm.training.features import FeatureSet
from chiasm.training.image_data import image_checks, image_targets
from chiasm.training.stages.image import ImageTargets
from tiny_corpus import HELD_OUT, SMALL_PLAN, THINGS, tiny_concepts, write_gallery

NOUNS = """00000001 03 n 01 whole 0 000 | all of it
00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | it moves
00000003 05 n 01 Chihuahua 0 001 @ 00000002 n 0000 | small
00000004 06 n 01 spoon 0 001 @ 00000001 n 0000 | for soup
"""
CLASSES = [Entry(("chihuahua",), ("吉娃娃",), "n00000003"), Entry(("spoon",), ("勺子",), "n00000004")]


class OneHot:
    """A teacher to whom each text is an axis of its own."""

    def __init__(self) -> None:
        self.axes: dict[str, int] = {}

    def vector(self, text: str) -> NDArray[np.float32]:
        return np.eye(1, 400, self.axes.setdefault(text, len(self.axes)), dtype=np.float32)[0]

    def vectors(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return {text: self.vector(text) for text in texts}

    def matrix(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self.vector(text) for text in texts])

    def said(self, vectors: NDArray[np.float32]) -> list[str]:
        """The texts of these rows."""
        texts = list(self.axes)
        return [texts[int(row.argmax())] for row in vectors]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "data.noun").write_text(NOUNS, encoding="utf-8")
    gallery = write_gallery(folder / "pictures")
    return SimpleNamespace(
        concepts=tiny_concepts(),
        plan=make_plan(gallery, tiny_concepts(), SMALL_PLAN),
        gallery=gallery,
        teacher=OneHot(),
        imagenet=CLASSES,
        glossary=[Entry(("animal",), ("动物",), "animal"), Entry(("whole",), ("整个",), "idea")],
        sources=SimpleNamespace(wordnet=Path(folder)),
    )


@pytest.fixture(scope="module")
def features(corpus: Any) -> FeatureSet:
    """Features of the whole plan, in another order than the plan's."""
    views = np.random.default_rng(0).permutation(len(corpus.plan))
    empty = np.zeros((len(views), 1), np.float16)
    return FeatureSet(empty, empty, views)


@pytest.fixture(scope="module")
def targets(corpus: Any, features: FeatureSet) -> ImageTargets:
    return image_targets(corpus, features, corpus.teacher.matrix)


def test_no_training_name_is_held_out(corpus: Any, targets: ImageTargets) -> None:
    names = corpus.teacher.said(targets.names.names)
    assert names == [*(en for _, en, _ in THINGS), "red apple", "old house", "anvil"]
    assert HELD_OUT[1] not in names, "neither as a concept nor as a title"


def test_every_row_is_a_training_view_of_what_it_is_called(
    corpus: Any, features: FeatureSet, targets: ImageTargets
) -> None:
    names = corpus.teacher.said(targets.names.names)
    for row, name in zip(targets.single, targets.single_name, strict=True):
        view = corpus.plan[features.views[row]]
        assert (view.split, corpus.concepts[view.placed[0].concept].name) == ("train", names[name])
    for row, name in zip(targets.titled, targets.titled_name, strict=True):
        placed = corpus.plan[features.views[row]].placed[0]
        assert corpus.gallery.labels[placed.family][placed.row]["title"] == names[name]
    assert len(targets.titled) == 2 + 2 * 2, "plain clip art, plain and filled glyphs; nothing held out"


def test_dyed_things_have_their_own_colour_first_and_none_that_is_held_out(
    corpus: Any, features: FeatureSet, targets: ImageTargets
) -> None:
    shown = set()
    for row, texts in zip(targets.coloured, targets.colour_texts, strict=True):
        placed = corpus.plan[features.views[row]].placed[0]
        said = corpus.teacher.said(texts)
        assert said[0].split()[1:] == [placed.colour, corpus.concepts[placed.concept].name]
        assert len(set(said)) == len(COLOURS) == 11
        shown.add(said[0])
    assert not any(map(held_out, shown))


def test_scenes_are_captioned_in_order(corpus: Any, features: FeatureSet, targets: ImageTargets) -> None:
    assert len(targets.scenes) == SMALL_PLAN.scenes
    for row, caption in zip(targets.scenes, corpus.teacher.said(targets.captions), strict=True):
        view = corpus.plan[features.views[row]]
        things = [corpus.concepts[placed.concept].name for placed in view.placed]
        assert view.split == "train"
        assert caption.replace(" and ", ", ").replace("an ", "").replace("a ", "").split(", ") == things


def test_concepts_have_chinese_names_and_keywords_but_none_that_is_held_out(
    corpus: Any, targets: ImageTargets
) -> None:
    known = [c for c in corpus.concepts if not held_out(c.name)]
    assert corpus.teacher.said(targets.names.chinese) == [c.zh[0] for c in known]
    keywords = corpus.teacher.said(targets.names.keywords)
    assert keywords == sorted({w for c in known for w in c.en[1:] if not held_out(w)})
    for concept, row in zip(known, targets.names.keyword_of, strict=True):
        assert {keywords[i] for i in np.flatnonzero(row)} == {w for w in concept.en[1:] if not held_out(w)}
    assert corpus.teacher.said(targets.chinese_classes) == ["吉娃娃", "勺子"]


def test_classes_know_the_everyday_words_for_their_kinds(corpus: Any, targets: ImageTargets) -> None:
    assert corpus.teacher.said(targets.classes) == ["chihuahua", "spoon"]
    assert corpus.teacher.said(targets.kinds) == ["animal"], "what says nothing is no kind"
    assert targets.kind_of.tolist() == [[True], [False]]


def test_the_checks_tell_seen_concepts_from_unseen_ones(corpus: Any, features: FeatureSet) -> None:
    checks = image_checks(corpus, features, corpus.teacher.matrix)
    for language in ("en", "zh"):
        assert sorted(checks[f"noto-v1 seen {language}"].label) == list(range(len(THINGS)))
        assert checks[f"noto-v1 unseen {language}"].label.tolist() == [len(THINGS)]
    for check in checks.values():
        assert {corpus.plan[features.views[row]].split for row in check.rows} == {"validation"}
        assert len(check.gallery) == len(THINGS) + 1
