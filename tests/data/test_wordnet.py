"""Hypernyms and words from WordNet's own file format."""

from pathlib import Path

import pytest

from chiasm.data.builders.wordnet import ancestors, load_hypernyms, load_lemmas
from chiasm.errors import DataError

# Sixteen words (hexadecimal 10), an instance pointer, a meronym and a pointer to a verb: all that needs care.
NOUNS = """  1 This software and database is being provided to you under a licence
00000100 03 n 01 entity 0 000 | that which is
00000200 05 n 02 Animal 0 living_thing 0 001 @ 00000100 n 0000 | it moves
00000300 05 n 10 dog 0 a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 k 0 l 0 m 0 n 0 o 0 """ + (
    """004 @ 00000200 n 0000 @ 00000400 n 0000 %p 00000100 n 0000 @ 00000900 v 0000 | a dog | barks
00000400 05 n 01 pet 0 001 @ 00000200 n 0000 | kept
00000500 05 n 01 Laika 0 001 @i 00000300 n 0000 | went to space
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data.noun").write_text(NOUNS, encoding="utf-8")
    return tmp_path


def test_hypernyms_are_the_noun_pointers_up(folder: Path) -> None:
    assert load_hypernyms(folder) == {
        "n00000100": [],
        "n00000200": ["n00000100"],
        "n00000300": ["n00000200", "n00000400"],
        "n00000400": ["n00000200"],
        "n00000500": ["n00000300"],
    }


def test_ancestors_come_nearest_first_and_once(folder: Path) -> None:
    chain = ancestors("n00000500", load_hypernyms(folder))
    assert chain == ["n00000300", "n00000200", "n00000400", "n00000100"]
    assert ancestors("n99999999", load_hypernyms(folder)) == []


def test_lemmas_are_written_as_people_write_them(folder: Path) -> None:
    lemmas = load_lemmas(folder)
    assert lemmas["n00000200"] == ["animal", "living thing"]
    assert lemmas["n00000300"][0] == "dog"
    assert len(lemmas["n00000300"]) == 16


def test_a_folder_without_wordnet_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.noun"):
        load_hypernyms(tmp_path)
