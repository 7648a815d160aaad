"""The plan of the picture corpus: reproducible, and honest about what training may see."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chiasm.data.builders.icons import (
    INK_FAMILIES,
    TEST_FAMILY,
    TITLED_FAMILIES,
    TRAIN_FAMILIES,
    VALIDATION_FAMILY,
)
from chiasm.data.builders.plan import Gallery, Placed, ViewSpec, load_plan, make_plan, paint, save_plan
from chiasm.data.builders.views import ViewConfig
from tiny_corpus import CLIPART, GLYPHS, HELD_OUT, SMALL_PLAN, THINGS, disc, tiny_concepts, write_gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return write_gallery(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def plan(gallery: Gallery) -> list[ViewSpec]:
    return make_plan(gallery, tiny_concepts(), SMALL_PLAN)


def test_a_plan_is_the_same_each_time(gallery: Gallery, plan: list[ViewSpec]) -> None:
    assert make_plan(gallery, tiny_concepts(), SMALL_PLAN) == plan


def test_training_never_sees_a_held_out_concept_or_another_splits_family(plan: list[ViewSpec]) -> None:
    held = len(THINGS)
    assert tiny_concepts()[held].name == HELD_OUT[1]
    train = [placed for view in plan if view.split == "train" for placed in view.placed]
    assert {placed.concept for placed in train} == {-1, *range(held)}
    assert {placed.family for placed in train} == {*TRAIN_FAMILIES, *INK_FAMILIES, *TITLED_FAMILIES}


def test_each_other_split_has_its_own_family_with_unseen_concepts_too(plan: list[ViewSpec]) -> None:
    for split, family in (("validation", VALIDATION_FAMILY), ("test", TEST_FAMILY)):
        placed = [p for view in plan if view.split == split for p in view.placed]
        assert {p.family for p in placed} == {family}
        assert len(THINGS) in {p.concept for p in placed}


def test_further_rounds_paint_the_same_anew(gallery: Gallery, plan: list[ViewSpec]) -> None:
    more = make_plan(gallery, tiny_concepts(), replace(SMALL_PLAN, rounds=3))
    once = [view for view in plan if view.split == "train" and view.kind != "plain"]
    assert more[: len(plan)] == plan
    again = more[len(plan) :]
    assert [(v.kind, v.placed) for v in again] == 2 * [(v.kind, v.placed) for v in once]
    assert len({v.seed for v in (*once, *again)}) == 3 * len(once)


def test_there_are_as_many_views_as_asked_for(plan: list[ViewSpec]) -> None:
    drawings, ink = (len(families) * len(THINGS) for families in (TRAIN_FAMILIES, INK_FAMILIES))
    assert Counter((view.split, view.kind) for view in plan) == {
        ("train", "plain"): drawings + ink + len(CLIPART) + len(GLYPHS),
        ("train", "varied"): 2 * drawings + ink,
        ("train", "inked"): drawings,
        ("train", "filled"): 2 * ink + len(GLYPHS),
        ("train", "coloured"): 40,
        ("train", "scene"): 30,
        ("validation", "plain"): len(THINGS) + 1,
        ("validation", "scene"): 10,
        ("test", "plain"): len(THINGS) + 1,
    }


def test_a_scene_is_of_different_things_inside_the_picture(plan: list[ViewSpec]) -> None:
    for view in (v for v in plan if v.kind == "scene"):
        assert len({p.concept for p in view.placed}) == len(view.placed) in {2, 3}
        assert all(0 < p.x < 1 and 0 < p.y < 1 and 0 < p.scale < 0.6 for p in view.placed)


def test_a_plan_survives_the_disk(plan: list[ViewSpec], tmp_path: Path) -> None:
    save_plan(plan, tmp_path / "plan.jsonl")
    assert load_plan(tmp_path / "plan.jsonl") == plan


def test_every_kind_of_view_can_be_painted_again(gallery: Gallery, plan: list[ViewSpec]) -> None:
    config, concepts = ViewConfig(side=32), tiny_concepts()
    for kind in ("plain", "varied", "inked", "coloured", "scene"):
        spec = next(view for view in plan if view.kind == kind)
        picture = paint(spec, gallery, concepts, config)
        assert (picture.shape, picture.dtype) == ((32, 32, 3), np.uint8)
        np.testing.assert_array_equal(picture, paint(spec, gallery, concepts, config))


def test_a_dyed_view_shows_its_colour(gallery: Gallery) -> None:
    spec = ViewSpec("coloured", "train", 5, (Placed("noto", 0, 0, colour="green"),))
    red, green, blue = paint(spec, gallery, tiny_concepts(), ViewConfig(side=32))[18, 18].astype(int)
    assert green > red + 40
    assert green > blue + 40


def test_clip_art_has_no_concept(gallery: Gallery) -> None:
    assert gallery.concept("clipart", 0) == -1
    assert gallery.concept("noto", 3) == 3
    np.testing.assert_array_equal(gallery.sprite("clipart", 1), disc())
