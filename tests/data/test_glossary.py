"""The glossary files obey their format, since a word out of place would silently teach the model nonsense."""

import csv
import re
from collections import Counter
from importlib.resources import files

import pytest

from chiasm.data.builders import glossary
from chiasm.data.builders.glossary import Entry, load_glossary, load_imagenet, load_sentences
from chiasm.data.builders.parallel import THING_CATEGORIES

HAN = re.compile(r"[\u3400-\u9fff]+")
ENGLISH = re.compile(r"[A-Za-z0-9éñçêèâàüö'&(). ,/?!-]+")
FILES = sorted(f.name for f in files(glossary).iterdir() if f.name.endswith(".tsv"))
CONCEPTS = [name for name in FILES if name not in {"imagenet.tsv", "sentences.tsv"}]
COLUMNS = {"imagenet.tsv": ["index", "synset", "en", "zh"], "sentences.tsv": ["en", "zh"]}


def rows_of(name: str) -> list[list[str]]:
    text = files(glossary).joinpath(name).read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert "\r" not in text
    return [line.split("\t") for line in text.removesuffix("\n").split("\n")]


@pytest.mark.parametrize("name", FILES)
def test_every_line_has_every_column(name: str) -> None:
    head, *rows = rows_of(name)
    assert head == COLUMNS.get(name, ["en", "zh", "category"])
    assert [row for row in rows if len(row) != len(head) or not all(row)] == []


@pytest.mark.parametrize("name", [*CONCEPTS, "imagenet.tsv"])
def test_names_are_written_as_names(name: str) -> None:
    head, *rows = rows_of(name)
    english = [part for row in rows for part in row[head.index("en")].split("|")]
    chinese = [part for row in rows for part in row[head.index("zh")].split("|")]
    assert [text for text in chinese if not HAN.fullmatch(text)] == []
    assert [text for text in english if not ENGLISH.fullmatch(text) or text != " ".join(text.split())] == []


@pytest.mark.parametrize("name", CONCEPTS)
def test_no_file_names_a_thing_twice(name: str) -> None:
    names = [row[0].split("|")[0].lower() for row in rows_of(name)[1:]]
    assert [name for name, count in Counter(names).items() if count > 1] == []


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_file_is_of_one_category(name: str) -> None:
    assert len({row[2] for row in rows_of(name)[1:]}) == 1


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return load_glossary()


def test_the_glossary_is_large_and_each_concept_comes_once(entries: list[Entry]) -> None:
    assert len(entries) >= 5000
    keys = [(entry.name.lower(), entry.zh[0]) for entry in entries]
    assert len(keys) == len(set(keys))
    assert {entry.category for entry in entries} > THING_CATEGORIES


def test_an_entry_has_its_synonyms_in_order(entries: list[Entry]) -> None:
    dog = next(entry for entry in entries if entry.name == "dog")
    assert (dog.en, dog.zh, dog.category) == (("dog",), ("狗", "犬"), "animal")


def test_imagenet_classes_are_in_the_order_of_their_synsets() -> None:
    classes = load_imagenet()
    synsets = [entry.category for entry in classes]
    assert len(classes) == 1000
    assert synsets == sorted(set(synsets))
    assert [row[0] for row in rows_of("imagenet.tsv")[1:]] == [str(i) for i in range(1000)]
    assert (classes[1].name, classes[1].zh[0], synsets[0]) == ("goldfish", "金鱼", "n01440764")


def test_sentences_are_english_and_chinese_and_none_comes_twice() -> None:
    sentences = load_sentences()
    assert len(sentences) > 1000
    assert len({en for en, _ in sentences}) == len(sentences)
    assert [en for en, _ in sentences if HAN.search(en)] == []
    assert [zh for _, zh in sentences if not HAN.search(zh) or re.search(r"[,?!;:]", zh)] == []


def test_the_files_need_no_quoting() -> None:
    text = files(glossary).joinpath("sentences.tsv").read_text(encoding="utf-8")
    plain = [line.split("\t") for line in text.splitlines()]
    assert list(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)) == plain
