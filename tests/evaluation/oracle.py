"""A corpus of a few coloured shapes on disk, and models whose figures are known beforehand."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.sources import Sources
from chiasm.data.splits import held_out
from chiasm.evaluation.material import Material, Split
from chiasm.modality import Image, Item, Modality, Text
from chiasm.preprocess import ModelDescription, PreprocessConfig

THINGS = 40
_LEVELS = (0, 85, 170, 255)


def name_of(number: int) -> str:
    return f"thing {number}"


def names_held_out() -> int:
    return sum(held_out(name_of(number)) for number in range(THINGS))


def colour_of(number: int) -> tuple[int, int, int]:
    """Of each thing another one, none of them white."""
    return _LEVELS[number % 4], _LEVELS[number // 4 % 4], _LEVELS[number // 16 % 3]


def write_corpus(folder: Path) -> Material:
    """Two training families and the two held-out ones, each drawing thing ``n`` as a square of its colour."""
    tables: dict[str, dict[str, object]] = {"en": {}, "zh": {}}
    for number in range(THINGS):
        tables["en"][chr(0x1F400 + number)] = {"tts": [name_of(number)], "default": []}
        tables["zh"][chr(0x1F400 + number)] = {"tts": [f"东西{number}号"], "default": []}
    for package, kind in (("full", "annotations"), ("derived-full", "annotationsDerived")):
        for language, table in tables.items():
            path = folder / f"sources/node_modules/cldr-annotations-{package}/{kind}/{language}"
            path.mkdir(parents=True)
            content = {kind: {"annotations": table if package == "full" else {}}}
            (path / "annotations.json").write_text(json.dumps(content))
    pictures = folder / "pictures"
    pictures.mkdir()
    sprites = np.zeros((THINGS, 160, 160, 4), np.uint8)
    for number in range(THINGS):
        sprites[number, :, :, :3] = colour_of(number)
        sprites[number, :, :, 3] = 255
    for family in ("noto", "noto-v1", "openmoji"):
        np.save(pictures / f"{family}.npy", sprites)
        (pictures / f"{family}.json").write_text(json.dumps(list(range(THINGS))))
    return material_of(folder, Oracle())


def material_of(folder: Path, model: "Oracle", split: Split = "test") -> Material:
    return Material(model=model, data=folder, sources=Sources(npm=folder / "sources"), split=split)


class Oracle:
    """Knows each thing by its colour and by its names in both languages; everything else is far from all."""

    width = THINGS + 1

    def __init__(self) -> None:
        self.description = ModelDescription(
            name="oracle",
            revision="1",
            dimensions=self.width,
            context_length=64,
            modalities=tuple(Modality),
            capabilities=("embed",),
            licence="Apache-2.0",
            metrics={},
            backend="test",
            logit_scale=20.0,
            preprocess=PreprocessConfig(),
            tokenizer=b"",
            lexicon=b"",
            calibration={},
        )

    def embed(self, values: Sequence[object], *, dimensions: int | None = None) -> NDArray[np.float32]:
        rows = np.zeros((len(values), self.width), np.float32)
        for row, value in zip(rows, values, strict=True):
            row[self.thing(value)] = 1
        return rows

    def thing(self, value: object) -> int:
        """The column of what is seen or read; the last one for what is not known."""
        if isinstance(value, Item):
            return self.thing(value.parts[0])
        if isinstance(value, Image):
            side = len(value.pixels)
            seen = value.pixels[side // 2, side // 2]
            return next((n for n in range(THINGS) if np.abs(seen - np.array(colour_of(n))).max() < 3), THINGS)
        read = value.text if isinstance(value, Text) else str(value)
        known = {name_of(n): n for n in range(THINGS)} | {f"东西{n}号": n for n in range(THINGS)}
        return known.get(read, THINGS)


class Constant(Oracle):
    """Gives everything the same vector."""

    def thing(self, value: object) -> int:
        return 0
