"""A corpus of six things in hand-made drawings: what the tests of the builders and of training read."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chiasm.data.builders.concepts import Concept
from chiasm.data.builders.icons import INK_FAMILIES, TEST_FAMILY, TRAIN_FAMILIES, VALIDATION_FAMILY
from chiasm.data.builders.plan import Gallery, PlanConfig
from chiasm.data.builders.views import Pixels

THINGS = (
    ("🐱", "cat", "猫"),
    ("🐶", "dog", "狗"),
    ("🐝", "bee", "蜜蜂"),
    ("🔑", "key", "钥匙"),
    ("🥚", "egg", "鸡蛋"),
)
KEYWORDS = {"cat": ("animal", "pet"), "dog": ("animal", "ship"), "egg": ("food",)}
HELD_OUT = ("🚢", "ship", "船")
CLIPART = ("red apple", "old house", "ship")
GLYPHS = ("anvil", "cat", "ship")
SMALL_PLAN = PlanConfig(varied_per_icon=2, coloured=40, scenes=30, held_scenes=10)


def tiny_concepts() -> list[Concept]:
    """Five concepts for training and one, the last, that is held out."""
    return [
        Concept(emoji=emoji, en=(en, *KEYWORDS.get(en, ())), zh=(zh,))
        for emoji, en, zh in (*THINGS, HELD_OUT)
    ]


def disc(side: int = 24, rgb: Sequence[int] = (200, 60, 40)) -> Pixels:
    """A disc with a bright spot on a transparent ground, uint8 [side, side, 4]."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    sprite = np.zeros((side, side, 4), dtype=np.uint8)
    sprite[..., :3] = rgb
    sprite[: side // 3, : side // 3, :3] = 250
    sprite[..., 3] = np.where(np.hypot(x, y) < side * 0.45, 255, 0)
    return sprite


def write_gallery(folder: Path) -> Gallery:
    """Every family draws every concept, each as a disc of its own grey; three pieces of clip art,
    three glyphs."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(THINGS) + 1
    for number, family in enumerate((*TRAIN_FAMILIES, *INK_FAMILIES, VALIDATION_FAMILY, TEST_FAMILY)):
        discs = [disc(rgb=(30 * row + 20, 20 * number, 90)) for row in range(count)]
        np.save(folder / f"{family}.npy", np.stack(discs))
        (folder / f"{family}.json").write_text(json.dumps(list(range(count))), encoding="utf-8")
    for family, titles in (("clipart", CLIPART), ("glyphs", GLYPHS)):
        np.save(folder / f"{family}.npy", np.stack([disc()] * len(titles)))
        labels = [{"title": title, "folder": "things"} for title in titles]
        (folder / f"{family}.json").write_text(json.dumps(labels), encoding="utf-8")
    return Gallery(folder)


def write_annotations(npm: Path, language: str, tables: dict[str, dict[str, tuple[str, list[str]]]]) -> None:
    """CLDR's two packages for one language.

    ``tables`` maps ``annotations`` and ``annotationsDerived`` to emoji → (short name, keywords); an empty
    short name means that CLDR has none.
    """
    for key, package in (
        ("annotations", "cldr-annotations-full"),
        ("annotationsDerived", "cldr-annotations-derived-full"),
    ):
        entries = {
            emoji: {"default": keywords} | ({"tts": [name]} if name else {})
            for emoji, (name, keywords) in tables.get(key, {}).items()
        }
        path = npm / "node_modules" / package / key / language / "annotations.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({key: {"annotations": entries}}, ensure_ascii=False), encoding="utf-8")
