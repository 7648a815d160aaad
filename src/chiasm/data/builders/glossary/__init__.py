"""The project's own Chinese-English glossary: everyday words, ImageNet's class names, parallel sentences."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

_SPECIAL = frozenset({"imagenet.tsv", "sentences.tsv"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One concept: synonyms in both languages, the commonest first."""

    en: tuple[str, ...]
    zh: tuple[str, ...]
    category: str

    @property
    def name(self) -> str:
        """The first English name: the key by which concepts are split."""
        return self.en[0]


def load_glossary() -> list[Entry]:
    """All concepts; one that several files name the same way in both languages comes once."""
    seen: dict[tuple[str, str], Entry] = {}
    folder = files(__name__)
    for file in sorted(f.name for f in folder.iterdir() if f.name.endswith(".tsv")):
        if file in _SPECIAL:
            continue
        for row in _rows(file):
            entry = Entry(_split(row["en"]), _split(row["zh"]), row["category"])
            seen.setdefault((entry.en[0].lower(), entry.zh[0]), entry)
    return list(seen.values())


def load_imagenet() -> list[Entry]:
    """The 1,000 ImageNet classes in the order of their index."""
    return [Entry(_split(row["en"]), _split(row["zh"]), row["synset"]) for row in _rows("imagenet.tsv")]


def load_sentences() -> list[tuple[str, str]]:
    """Parallel sentences (English, Chinese)."""
    return [(row["en"], row["zh"]) for row in _rows("sentences.tsv")]


def _rows(file: str) -> Iterator[dict[str, str]]:
    text = files(__name__).joinpath(file).read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part for part in cell.split("|") if part)
