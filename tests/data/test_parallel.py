"""Parallel phrases: both languages say the same of the same things."""

import re

import numpy as np
import pytest

from chiasm.data.builders.glossary import Entry
from chiasm.data.builders.palette import COLOURS
from chiasm.data.builders.parallel import (
    MOTIONS,
    ONE_THING,
    TWO_THINGS,
    PhraseBook,
    coloured,
    moving,
    plural,
    with_article,
)

APPLE = Entry(("apple",), ("苹果",), "food")
ENTRIES = [
    APPLE,
    Entry(("hammer", "mallet"), ("锤子",), "tool"),
    Entry(("teacher",), ("老师",), "people"),
    Entry(("run",), ("跑",), "action"),
    Entry(("beach",), ("沙滩",), "place"),
    Entry(("very long name of a thing",), ("长名",), "tool"),
    Entry(("sad",), ("难过",), "quality"),
]
CHINESE = {"apple": "苹果", "hammer": "锤子", "teacher": "老师", "run": "跑", "beach": "沙滩"}


def test_a_phrase_names_the_same_things_in_both_languages() -> None:
    book = PhraseBook(ENTRIES)
    rng = np.random.default_rng(1)
    phrases = [book.template(rng) for _ in range(400)]
    for phrase in phrases:
        for en, zh in CHINESE.items():
            assert (re.search(rf"\b{en}(e?s)?\b", phrase.en) is not None) == (zh in phrase.zh), phrase
        assert "long name" not in phrase.en
        assert "sad" not in phrase.en
        assert not re.search(r"[{}]", phrase.en + phrase.zh)
    assert len(set(phrases)) > 100


def test_colours_and_motions_are_told_alike_in_both_languages() -> None:
    rng = np.random.default_rng(2)
    phrases = [PhraseBook(ENTRIES).template(rng) for _ in range(300)]
    colours = {c.en: f"{c.zh}色的" for c in COLOURS.values()}
    seen = 0
    for phrase in phrases:
        words = phrase.en.split()
        for en, zh in colours.items():
            assert (en in words) == (zh in phrase.zh)
            seen += en in words
    assert seen > 30


def test_drawing_is_decided_by_the_generator() -> None:
    book = PhraseBook(ENTRIES)
    first, again = ([book.template(rng) for _ in range(20)] for rng in map(np.random.default_rng, (7, 7)))
    assert first == again


def test_coloured_and_moving_phrases() -> None:
    assert (coloured(APPLE, "orange").en, coloured(APPLE, "orange").zh) == ("an orange apple", "橙色的苹果")
    assert (moving(APPLE, "left").en, moving(APPLE, "left").zh) == (
        "an apple moving to the left",
        "苹果向左移动",
    )
    assert len({moving(APPLE, motion).zh for motion in MOTIONS}) == len(MOTIONS) == 8


def test_templates_have_their_places_in_both_languages() -> None:
    for en, zh in ONE_THING:
        assert len(re.findall(r"\{[anp]\}", en)) == zh.count("{z}") == 1
    for en, zh in TWO_THINGS:
        assert ("{a}" in en, "{b}" in en) == ("{z}" in zh, "{y}" in zh) == (True, True)


@pytest.mark.parametrize(
    ("name", "many"), [("box", "boxes"), ("cherry", "cherries"), ("key", "keys"), ("cat", "cats")]
)
def test_plurals(name: str, many: str) -> None:
    assert plural(name) == many


def test_articles() -> None:
    assert [with_article(n) for n in ("apple", "Owl", "dog")] == ["an apple", "an Owl", "a dog"]
