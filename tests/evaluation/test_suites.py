"""A model that knows everything gets everything right; one that knows nothing, nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import THINGS, Constant, Oracle, colour_of, material_of, name_of, names_held_out
from PIL import Image as Pillow

from chiasm.errors import DataError, InvalidInput
from chiasm.evaluation import mixed as mixed_suite
from chiasm.evaluation.drawings import drawings, nearest_picture_ranks
from chiasm.evaluation.material import Material, distinct
from chiasm.evaluation.metrics import recall_at
from chiasm.evaluation.mixed import held_colours
from chiasm.evaluation.photographs import chinese_labels, labelled_files, photographs
from chiasm.evaluation.relevance import Labelled, _pair
from chiasm.evaluation.run import SUITES, _suites, measure
from chiasm.evaluation.video import video
from chiasm.library.relevance import Calibration, Pair


def figures(rows: list) -> dict[str, float]:
    return {row.what: row.figure for row in rows}


def test_drawings_are_found_by_name_and_names_by_drawing(material: Material):
    found = figures(drawings(material))
    assert set(found.values()) == {1.0}
    assert "picture → name, seen concepts, R@1, en" in found
    assert "name → picture, unseen concepts, R@5, zh" in found


def test_a_model_that_gives_everything_one_vector_finds_nothing(corpus: Path):
    found = figures(drawings(material_of(corpus, Constant())))
    assert found["picture → name, seen concepts, R@10, en"] == 0
    assert found["name → picture, seen concepts, R@10, zh"] == 0


def test_seen_and_unseen_concepts_are_kept_apart(material: Material):
    rows = {row.what: row for row in drawings(material)}
    assert 0 < names_held_out() < THINGS
    assert rows["name → picture, unseen concepts, R@5, en"].n == names_held_out()
    assert rows["picture → name, seen concepts, R@1, en"].n == THINGS - names_held_out()
    assert rows["picture → name, seen concepts, R@1, en"].gallery == THINGS
    assert rows["picture → name, seen concepts, R@1, en"].chance == pytest.approx(1 / THINGS)


def test_equal_pixels_are_a_baseline_that_knows_every_picture(material: Material):
    assert recall_at(nearest_picture_ranks(material), 1).all()


def test_validation_reads_another_family(corpus: Path):
    assert material_of(corpus, Oracle(), "validation").family == "noto-v1"
    assert material_of(corpus, Oracle()).family == "openmoji"


def test_without_a_corpus_the_reader_is_told_what_to_run(tmp_path: Path, material: Material):
    with pytest.raises(DataError, match="chiasm data build"):
        _ = replace(material, data=tmp_path).gallery


def test_samples_are_the_same_every_time_and_shrink_with_the_share(material: Material):
    first, again = material.sample(1000, 50, "x"), material.sample(1000, 50, "x")
    assert first.tolist() == again.tolist()
    assert first.tolist() != material.sample(1000, 50, "y").tolist()
    assert len(replace(material, share=0.1).sample(1000, 50, "x")) == 5


def test_names_that_are_shared_count_once():
    names, column = distinct(["a", "b", "a"])
    assert (names, column.tolist()) == (["a", "b"], [0, 1, 0])


def test_a_model_that_sees_no_motion_is_wrong_about_all_of_them(material: Material, monkeypatch):
    monkeypatch.setattr(type(material.model), "thing", lambda self, value: 0)
    found = figures(video(replace(material, share=0.1)))
    assert set(found.values()) == {0.0}


def test_mixed_items_are_those_whose_colour_was_never_trained(material: Material, monkeypatch):
    monkeypatch.setattr(mixed_suite, "load_glossary", lambda: [Everyday()])
    rows = {row.what: row for row in mixed_suite.mixed(material)}
    asked = sum(len(held_colours(name_of(n))) for n in (1, 2, 3))
    row = rows["picture + colour word → texts, en, R@1"]
    assert row.n == asked
    # The oracle fuses by looking at the picture alone, which is no better than that.
    assert row.figure == row.baselines["picture alone"]
    assert rows["the same: over the better single part, texts, en"].figure <= 0


class Everyday:
    category = "animal"
    en = tuple(name_of(n) for n in (1, 2, 3))


@pytest.fixture
def photographs_folder(tmp_path: Path) -> Path:
    for number in (1, 2):
        folder = tmp_path / name_of(number).replace(" ", "_")
        folder.mkdir()
        Pillow.new("RGB", (32, 32), colour_of(number)).save(folder / "a.png")
        (folder / "notes.txt").write_text("not a picture")
    (tmp_path / "labels.tsv").write_text("thing 1\t东西1号\nthing 2\t东西2号\n", encoding="utf-8")
    return tmp_path


def test_photographs_are_named_by_their_folders(material: Material, photographs_folder: Path):
    assert [label for _, label in labelled_files(photographs_folder)] == ["thing 1", "thing 2"]
    assert chinese_labels(photographs_folder, ["thing 2"]) == ["东西2号"]
    assert chinese_labels(photographs_folder, ["apple"]) == ["苹果"]
    with pytest.raises(DataError, match="thing 9"):
        chinese_labels(photographs_folder, ["thing 9"])
    with pytest.raises(DataError, match="sub-folders"):
        labelled_files(photographs_folder / "thing_1")


def test_photographs_are_classified_in_both_languages(
    material: Material, photographs_folder: Path, monkeypatch
):
    def open_and_see(self: Oracle, value: object) -> int:
        if isinstance(value, Path):
            colour = Pillow.open(value).getpixel((0, 0))
            return next(n for n in range(THINGS) if colour_of(n) == colour)
        return see(self, value)

    see = Oracle.thing
    monkeypatch.setattr(Oracle, "thing", open_and_see)
    found = figures(photographs(replace(material, photographs=photographs_folder)))
    assert found["zero-shot top-1, en"] == 1.0
    assert found["zero-shot top-1, zh"] == 1.0


def unit(*columns: int) -> np.ndarray:
    return np.eye(8, dtype=np.float32)[list(columns)]


@pytest.mark.parametrize(("cutoff", "returned", "kept"), [(0.0, 1.0, 1.0), (0.5, 0.0, 1.0), (1.0, 0.0, 0.0)])
def test_the_cutoff_decides_what_is_returned_and_what_is_kept(cutoff: float, returned: float, kept: float):
    pair = Pair(cosine=10.0, bias=-5.0, cutoff=cutoff)
    banks = {"image": Labelled(vectors=unit(0, 1), things=np.array([0, 1]))}
    matched = Labelled(vectors=unit(1), things=np.array([1]))
    unmatched = Labelled(vectors=unit(5, 6), things=np.array([5, 6]))
    rows = list(_pair(Calibration(pairs={"text>image": pair}), "text", banks, matched, unmatched))
    assert [row.figure for row in rows] == [returned, kept]
    assert [row.n for row in rows] == [2, 1]


def test_what_is_missing_becomes_a_note_and_the_rest_is_measured(material: Material):
    def failing(_material: Material) -> list:
        raise DataError("no voices here", "没有语音")

    report = measure(material, {"drawings": drawings, "photographs": photographs, "speech": failing})
    assert {row.group for row in report.rows} == {"drawings"}
    assert any("no voices here" in note for note in report.notes)
    assert any("--photographs" in note for note in report.notes)


def test_suites_are_chosen_by_name():
    assert list(_suites(["video", "text"])) == ["video", "text"]
    assert list(_suites(None)) == list(SUITES)
    with pytest.raises(InvalidInput, match="got vidio"):
        _suites(["vidio"])
