"""Concepts of the picture corpus: emoji names and keywords in English and Chinese, from Unicode CLDR."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chiasm.data.builders.sources import Sources

_SKIN = re.compile(r"skin-tone|skintone|type-\d")


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One thing that several drawing families depict.

    ``en`` and ``zh`` start with the CLDR short name; keywords follow in their order.
    """

    emoji: str
    en: tuple[str, ...]
    zh: tuple[str, ...]

    @property
    def name(self) -> str:
        """The English short name, lower case: the key by which concepts are split."""
        return self.en[0]


def slug_of(name: str) -> str:
    """``"Grinning Face"`` → ``"grinning-face"``, the form in which icon sets name their files."""
    plain = name.lower().replace("’", "").replace("'", "").replace("“", "").replace("”", "")
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def load_concepts(sources: Sources) -> list[Concept]:
    """All emoji with names in both languages; flags and skin-tone variants left out (flags of countries are
    told apart by details that a 192-pixel backbone does not see)."""
    english = _annotations(sources, "en")
    chinese = _annotations(sources, "zh")
    concepts: dict[str, Concept] = {}
    for emoji, (name, keywords) in english.items():
        if emoji not in chinese or "flag:" in name or _SKIN.search(slug_of(name)):
            continue
        lowered = name.lower()
        zh_name, zh_keywords = chinese[emoji]
        if lowered not in concepts:
            concepts[lowered] = Concept(
                emoji=emoji,
                en=tuple(dict.fromkeys([lowered, *(k.lower() for k in keywords)])),
                zh=tuple(dict.fromkeys([zh_name, *zh_keywords])),
            )
    return list(concepts.values())


def by_slug(concepts: list[Concept]) -> Mapping[str, int]:
    """Index of the concept for each spelling that icon sets use: with hyphens and without."""
    table: dict[str, int] = {}
    for index, concept in enumerate(concepts):
        slug = slug_of(concept.name)
        table.setdefault(slug, index)
        table.setdefault(slug.replace("-", ""), index)
    return table


def by_codepoints(concepts: list[Concept]) -> Mapping[str, int]:
    """Index of the concept for each hexadecimal code point sequence such as ``1f469-200d-1f680``."""
    return {_hex(concept.emoji): index for index, concept in enumerate(concepts)}


def codepoint_key(stem: str) -> str:
    """File stem → the key of :func:`by_codepoints`; the variation selector is not significant."""
    return "-".join(part for part in stem.lower().split("-") if part != "fe0f")


def _hex(emoji: str) -> str:
    return codepoint_key("-".join(f"{ord(c):x}" for c in emoji))


def _annotations(sources: Sources, language: str) -> dict[str, tuple[str, list[str]]]:
    found: dict[str, tuple[str, list[str]]] = {}
    for package, folder, key in (
        ("cldr-annotations-derived-full", "annotationsDerived", "annotationsDerived"),
        ("cldr-annotations-full", "annotations", "annotations"),
    ):
        path: Path = sources.package(package) / folder / language / "annotations.json"
        table = json.loads(path.read_text(encoding="utf-8"))[key]["annotations"]
        for emoji, entry in table.items():
            if "tts" in entry:
                found[emoji] = (entry["tts"][0], list(entry.get("default", [])))
    return found
