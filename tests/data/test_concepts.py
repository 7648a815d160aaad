"""Emoji concepts: names from CLDR in both languages, and finding them by the names of icon files."""

from functools import partial
from pathlib import Path

import pytest

from chiasm.data import builders
from chiasm.data.builders.concepts import (
    Concept,
    by_codepoints,
    by_slug,
    codepoint_key,
    load_concepts,
    slug_of,
)
from chiasm.data.builders.sources import Sources, bring
from chiasm.errors import DataError
from tiny_corpus import tiny_concepts, write_annotations

ASTRONAUT = "👩\u200d🚀"
HEART = "❤\ufe0f"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Grinning Face", "grinning-face"),
        ("woman’s hat", "womans-hat"),
        ("Japanese “free of charge” button", "japanese-free-of-charge-button"),
        ("face with tears of joy!", "face-with-tears-of-joy"),
        ("keycap: 10", "keycap-10"),
    ],
)
def test_slugs_are_what_icon_sets_call_their_files(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_a_concept_is_found_with_and_without_hyphens() -> None:
    table = by_slug([Concept(emoji="😀", en=("grinning face",), zh=("嘿嘿",)), *tiny_concepts()])
    assert (table["grinning-face"], table["grinningface"], table["cat"]) == (0, 0, 1)
    assert "grinning" not in table


def test_code_points_are_compared_without_the_variation_selector() -> None:
    concepts = [Concept(emoji=e, en=(e,), zh=(e,)) for e in (ASTRONAUT, HEART)]
    table = by_codepoints(concepts)
    assert table == {"1f469-200d-1f680": 0, "2764": 1}
    assert table[codepoint_key("1F469-200D-1F680")] == 0
    assert table[codepoint_key("2764-FE0F")] == 1


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    english = {
        "annotations": {
            "🐱": ("Cat", ["pet", "Cat", "kitty"]),
            "🏴": ("flag: England", []),
            "🪿": ("goose", []),
            "🈳": ("", ["button"]),
        },
        "annotationsDerived": {
            "👋🏽": ("waving hand: medium skin-tone", []),
            ASTRONAUT: ("woman astronaut", []),
        },
    }
    chinese = {
        "annotations": {"🐱": ("猫", ["宠物", "猫"]), "🏴": ("旗: 英格兰", []), "🈳": ("空", [])},
        "annotationsDerived": {"👋🏽": ("挥手", []), ASTRONAUT: ("女宇航员", ["太空"])},
    }
    write_annotations(tmp_path, "en", english)
    write_annotations(tmp_path, "zh", chinese)
    return Sources(npm=tmp_path)


def test_concepts_have_names_in_both_languages_and_no_flags_or_skin_tones(sources: Sources) -> None:
    found = {c.emoji: (c.en, c.zh) for c in load_concepts(sources)}
    assert found == {
        "🐱": (("cat", "pet", "kitty"), ("猫", "宠物")),
        ASTRONAUT: (("woman astronaut",), ("女宇航员", "太空")),
    }


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_concepts(Sources(npm=tmp_path))
    assert error.value.param == "cldr-annotations-derived-full"
    assert "cldr-annotations-derived-full" in error.value.message("zh")


def test_missing_debian_packages_are_asked_for_before_anything_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders.sources, "Sources", partial(Sources, clipart=tmp_path / "absent"))
    with pytest.raises(DataError, match="apt-get install openclipart-png"):
        bring(tmp_path / "npm")
    assert not (tmp_path / "npm").exists()
