from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from library_fakes import FakeEmbedder, put_item, vector_of

from chiasm.errors import Conflict, InvalidInput, NotFound
from chiasm.library import Library


def names(hits: list) -> list[str]:
    return [hit.name for hit in hits]


def test_a_file_is_found_by_what_it_is_about(library: Library) -> None:
    library.create_store("mine")
    library.add_file("mine", b"red apple on a table", "apple.txt", {"year": 2024})
    library.add_file("mine", b"white boat in the harbour", "boat.txt")
    hit = library.search("mine", vector_of("apple"), "text")[0]
    assert (hit.name, hit.modality, hit.snippet) == ("apple.txt", "text", "red apple on a table")
    assert hit.attributes == {"year": 2024}
    assert hit.cosine == pytest.approx(
        float(vector_of("apple") @ vector_of("red apple on a table")), abs=2e-3
    )
    assert 0 < hit.score < 1


def test_hits_of_all_modalities_come_in_one_list_and_can_be_restricted(
    library: Library, folder: Path
) -> None:
    library.create_store("mine")
    library.index_folder("mine", folder)
    assert names(library.search("mine", vector_of("blue sky with clouds"), "text"))[0] == "sky.png"
    hits = library.search("mine", vector_of("blue sky"), "text", modalities=["text"])
    assert sorted(names(hits)) == ["apple.txt", "boat.txt"]


def test_a_video_is_one_hit_at_its_best_stretch_with_the_others_beside_it(library: Library) -> None:
    library.create_store("mine")
    library.add_file("mine", b"VIDEO:a dog runs|a cat sleeps|a dog barks", "pets.mp4")
    (hit,) = library.search("mine", vector_of("cat sleeps"), "text")
    assert (hit.start, hit.end) == (6.0, 12.0)
    assert {span.start for span in hit.others} == {0.0, 12.0}


def test_one_long_file_does_not_crowd_out_the_others(library: Library) -> None:
    library.create_store("mine")
    library.add_file("mine", b"VIDEO:" + b"|".join([b"dog"] * 200), "long.mp4")
    library.add_file("mine", b"VIDEO:dog park", "short.mp4")
    assert names(library.search("mine", vector_of("dog"), "text", limit=2)) == ["long.mp4", "short.mp4"]


def test_several_queries_find_what_suits_any_of_them(library: Library, folder: Path) -> None:
    library.create_store("mine")
    library.index_folder("mine", folder)
    vectors = np.stack([vector_of("red apple"), vector_of("white boat")])
    assert set(names(library.search("mine", vectors, "text", limit=2))) == {"apple.txt", "boat.txt"}


def test_more_like_this_leaves_the_thing_itself_out(library: Library) -> None:
    library.create_store("mine")
    first = library.add_file("mine", b"red apple pie", "one.txt")
    library.add_file("mine", b"red apple cake", "two.txt")
    library.add_file("mine", b"blue whale", "three.txt")
    assert names(library.search_like("mine", first.file.id)) == ["two.txt", "three.txt"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": "eq", "key": "year", "value": 2024}, {"b"}),
        ({"type": "ne", "key": "year", "value": 2024}, {"a", "c", "d"}),
        ({"type": "gt", "key": "year", "value": 2020}, {"b", "c"}),
        ({"type": "gte", "key": "year", "value": 2020}, {"a", "b", "c"}),
        ({"type": "lt", "key": "year", "value": 2024}, {"a"}),
        ({"type": "lte", "key": "year", "value": 2024.0}, {"a", "b"}),
        ({"type": "in", "key": "who", "value": ["小明", "Ann"]}, {"a", "c"}),
        ({"type": "nin", "key": "who", "value": ["小明", "Ann"]}, {"b", "d"}),
        ({"type": "in", "key": "who", "value": []}, set()),
        ({"type": "eq", "key": "good", "value": True}, {"a"}),
        ({"type": "eq", "key": "good", "value": 1}, {"d"}),
        ({"type": "eq", "key": "year", "value": "2024"}, set()),
        ({"type": "eq", "key": "x' OR 1=1 --", "value": 1}, set()),
        (
            {
                "type": "and",
                "filters": [
                    {"type": "gte", "key": "year", "value": 2020},
                    {
                        "type": "or",
                        "filters": [
                            {"type": "eq", "key": "who", "value": "Ann"},
                            {"type": "eq", "key": "year", "value": 2024},
                        ],
                    },
                ],
            },
            {"b", "c"},
        ),
    ],
)
def test_filters(library: Library, filters: dict, expected: set[str]) -> None:
    library.create_store("mine")
    for name, attributes in {
        "a": {"year": 2020, "who": "小明", "good": True},
        "b": {"year": 2024, "good": False},
        "c": {"year": 2025.5, "who": "Ann"},
        "d": {"good": 1},
    }.items():
        put_item(library, "mine", vector_of(name), item_id=name, attributes=attributes)
    hits = library.search("mine", vector_of("a"), "text", filters=filters)
    assert {hit.item_id for hit in hits} == expected


def nested(depth: int) -> dict:
    inner: dict = {"type": "eq", "key": "k", "value": 1}
    for _ in range(depth):
        inner = {"type": "and", "filters": [inner]}
    return inner


@pytest.mark.parametrize(
    "filters",
    [
        "year > 3",
        {"type": "like", "key": "a", "value": "b"},
        {"type": "eq", "key": 'a"b', "value": 1},
        {"type": "eq", "key": "a", "value": None},
        {"type": "gt", "key": "a", "value": True},
        {"type": "in", "key": "a", "value": "b"},
        {"type": "and", "filters": []},
        {"type": "eq", "key": "a", "value": float("nan")},
        nested(20),
        {"type": "or", "filters": [{"type": "eq", "key": "a", "value": 1}] * 300},
    ],
)
def test_filters_that_are_none_are_refused_by_name(library: Library, filters: object) -> None:
    library.create_store("mine")
    put_item(library, "mine", vector_of("x"))
    with pytest.raises(InvalidInput) as caught:
        library.search("mine", vector_of("x"), "text", filters=filters)
    assert (caught.value.param or "").startswith("filters")


def test_the_models_cut_off_holds_unless_another_is_given(
    open_library: Callable[..., Library], embedder: FakeEmbedder
) -> None:
    embedder.calibration = {"pairs": {"text>text": {"cosine": 20.0, "bias": -10.0, "cutoff": 0.5}}}
    library = open_library()
    library.create_store("mine")
    library.add_file("mine", b"red apple", "apple.txt")
    library.add_file("mine", b"white boat", "boat.txt")
    query = vector_of("red apple")
    assert names(library.search("mine", query, "text")) == ["apple.txt"]
    assert names(library.search("mine", query, "text", threshold=0)) == ["apple.txt", "boat.txt"]
    assert names(library.search("mine", query, "text", threshold=1.0)) == []


def test_in_a_larger_library_a_hit_has_to_show_more(
    open_library: Callable[..., Library], embedder: FakeEmbedder
) -> None:
    curve = {"cosine": 20.0, "bias": -10.0, "cutoff": 0.9, "growth": 1.0}
    embedder.calibration = {"pairs": {"text>text": curve}}
    library = open_library()
    library.create_store("mine")
    put_item(library, "mine", vector_of("red apple"), item_id="apple")
    assert names(library.search("mine", vector_of("red boat"), "text")) == ["apple"]
    for number in range(200):
        put_item(library, "mine", vector_of(f"other{number}"), item_id=str(number))
    assert names(library.search("mine", vector_of("red boat"), "text")) == []
    assert names(library.search("mine", vector_of("red apple"), "text")) == ["apple"]


def test_a_passage_is_judged_as_a_passage(
    open_library: Callable[..., Library], embedder: FakeEmbedder
) -> None:
    embedder.calibration = {
        "pairs": {
            "text>text": {"cosine": 20.0, "bias": -14.0, "cutoff": 0.5},
            "text>passage": {"cosine": 20.0, "bias": -6.0, "cutoff": 0.5},
        }
    }
    library = open_library()
    library.create_store("mine")
    library.add_file("mine", b"red apple of yesterday in some old basket there", "note.txt")
    library.add_file("mine", b"red boat", "boat.txt")
    found = library.search("mine", vector_of("red apple"), "text")
    assert names(found) == ["note.txt"], "a name would have had to be nearer"
    assert found[0].score == pytest.approx(1 / (1 + np.exp(6 - 20 * found[0].cosine)), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"threshold": 2.0}, "threshold"),
        ({"modalities": ["smell"]}, "modalities"),
    ],
)
def test_a_query_that_makes_no_sense_names_its_fault(library: Library, options: dict, param: str) -> None:
    library.create_store("mine")
    put_item(library, "mine", vector_of("x"))
    with pytest.raises(InvalidInput) as caught:
        library.search("mine", vector_of("x"), "text", **options)
    assert caught.value.param == param


@pytest.mark.parametrize("vector", [np.zeros(32), np.full(32, np.nan), np.ones(31), np.ones((2, 2, 32))])
def test_query_vectors_must_be_usable(library: Library, vector: np.ndarray) -> None:
    library.create_store("mine")
    put_item(library, "mine", vector_of("x"))
    with pytest.raises(InvalidInput):
        library.search("mine", vector, "text")


def test_a_store_never_mixes_two_model_revisions(
    open_library: Callable[..., Library], embedder: FakeEmbedder
) -> None:
    library = open_library()
    library.create_store("mine")
    library.add_file("mine", b"red apple", "apple.txt")
    embedder.revision = "r2"
    library = open_library()
    with pytest.raises(Conflict):
        library.search("mine", vector_of("apple"), "text")
    with pytest.raises(Conflict):
        library.add_file("mine", b"green pear", "pear.txt")


def test_an_empty_store_answers_nothing_and_an_unknown_one_is_an_error(library: Library) -> None:
    library.create_store("mine")
    assert library.search("mine", vector_of("x"), "text") == []
    with pytest.raises(NotFound):
        library.search("yours", vector_of("x"), "text")
