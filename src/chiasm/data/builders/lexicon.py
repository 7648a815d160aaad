"""The concepts that have names in both languages: the glossary's rows and the emoji names of CLDR."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chiasm.data.splits import held_out
from chiasm.errors import DataError
from chiasm.models.mini.phonemes import is_chinese

GLOSSARY = Path(__file__).parent / "glossary"
"""The tables of names written for this project."""


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One thing with its names, the usual one first."""

    en: tuple[str, ...]
    zh: tuple[str, ...]
    category: str

    @property
    def held_out(self) -> bool:
        """Whether no training may see this concept."""
        return held_out(self.en[0])


def load_concepts(
    glossary: Path = GLOSSARY, cldr: Path | None = None, *, sentences: bool = False
) -> list[Concept]:
    """Read all concepts.

    Args:
        glossary: the folder of tables (columns en, zh, category; synonyms divided by ``|``).
        cldr: npm's ``cldr-annotations-full/annotations`` folder, or None to leave emoji names out.
        sentences: also give the pairs of ``sentences.tsv``, with category ``sentence``.

    Returns:
        Concepts, one per first English name (a second row with the same one adds its synonyms).

    Raises:
        DataError: a table lacks its columns.
    """
    rows: list[Concept] = list(_emoji(cldr)) if cldr else []
    for path in sorted(glossary.glob("*.tsv")):
        if path.stem != "sentences" or sentences:
            rows += _table(path)
    merged: dict[str, Concept] = {}
    for row in rows:
        key = row.en[0].lower()
        old = merged.get(key)
        merged[key] = (
            row
            if old is None
            else Concept(en=_unique(old.en + row.en), zh=_unique(old.zh + row.zh), category=old.category)
        )
    return list(merged.values())


def _table(path: Path) -> Iterator[Concept]:
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        if not {"en", "zh"} <= set(reader.fieldnames or ()):
            raise DataError(
                f"expected columns en and zh in {path.name}, got {reader.fieldnames}",
                f"{path.name} 应有 en 与 zh 两列，实际为 {reader.fieldnames}",
            )
        for row in reader:
            en, zh = _names(row["en"]), _names(row["zh"])
            if en and zh:
                kind = "sentence" if path.stem == "sentences" else row.get("category") or path.stem
                yield Concept(en=en, zh=zh, category=kind)


def _names(cell: str | None) -> tuple[str, ...]:
    return _unique([name.strip() for name in (cell or "").split("|") if name.strip()])


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        {name.lower(): name for name in reversed(names)}[key]
        for key in dict.fromkeys(n.lower() for n in names)
    )


def _emoji(cldr: Path) -> Iterator[Concept]:
    tables = []
    for language in ("en", "zh"):
        text = (cldr / language / "annotations.json").read_text(encoding="utf-8")
        tables.append(json.loads(text)["annotations"]["annotations"])
    english, chinese = tables
    for character, entry in english.items():
        en, zh = entry.get("tts"), chinese.get(character, {}).get("tts")
        if en and zh and ord(character[0]) > 0x2000 and is_chinese(zh[0]):
            yield Concept(en=(en[0].replace("“", "").replace("”", ""),), zh=(zh[0],), category="emoji")
