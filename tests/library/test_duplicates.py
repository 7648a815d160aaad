"""Files that are nearly the same are one hit."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from library_fakes import DIMENSIONS, real_description, settings_for
from PIL import Image as Pillow

from chiasm.library import Library, open_library
from chiasm.library.items import NewItem
from chiasm.preprocess import PreparedItem


@dataclass
class MeanColour:
    """A model to whom all texts are the same, and pictures are when their colours are."""

    description = real_description()

    def embed_prepared(self, items: list[PreparedItem], *, deadline: float | None = None) -> np.ndarray:
        rows = np.full((len(items), DIMENSIONS), 0.1, np.float32)
        for row, item in zip(rows, items, strict=True):
            pixels = item.parts[0].arrays.get("pixels")
            row[:3] += 0.0 if pixels is None else pixels.reshape(-1, 3).mean(axis=0) / 255
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def picture(seed: int, kind: str = "PNG", side: int = 120) -> bytes:
    fields = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(fields).resize((side, side), Pillow.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def library(tmp_path: Path):
    with open_library(settings_for(tmp_path / "data"), MeanColour()) as opened:
        opened.create_store("mine")
        for seed in range(4):
            opened.add_file("mine", picture(seed), f"{seed}.png")
            opened.add_file("mine", picture(seed, "JPEG", 60), f"{seed}-small.jpg")
        yield opened


def found(library: Library, **options: object) -> list[set[str]]:
    hits = library.search("mine", np.ones(DIMENSIONS), "text", threshold=0, **options)
    return [{hit.name, *(twin.name for twin in hit.duplicates)} for hit in hits]


def pair(seed: int) -> set[str]:
    return {f"{seed}.png", f"{seed}-small.jpg"}


def test_a_picture_and_its_copy_are_one_hit(library: Library) -> None:
    assert sorted(found(library), key=sorted) == [pair(seed) for seed in range(4)]
    assert len(found(library, group_duplicates=False)) == 8


def test_the_limit_counts_groups_and_pages_agree(library: Library) -> None:
    together = found(library)
    assert found(library, limit=3) == together[:3]
    assert [*found(library, limit=1), *found(library, limit=2, offset=1)] == together[:3]
    assert len(found(library, diversity=0.5)) == 4


def test_what_only_looks_alike_to_the_model_stays_apart(library: Library) -> None:
    """Pictures of one mean colour: the vectors agree, the bits do not."""
    library.create_store("other")
    for name, first in (("left", slice(0, 32)), ("right", slice(32, 64))):
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[:, first] = 255
        buffer = io.BytesIO()
        Pillow.fromarray(pixels).save(buffer, "PNG")
        library.add_file("other", buffer.getvalue(), name)
    assert len(library.search("other", np.ones(DIMENSIONS), "text", threshold=0)) == 2


def test_texts_are_grouped_by_their_words_and_items_never(library: Library) -> None:
    library.create_store("notes")
    text = "The keeper lit the lamp at dusk, and the boats came home one by one."
    library.add_file("notes", text.encode(), "a.txt")
    library.add_file("notes", f"{text.upper()}\n".encode(), "b.txt")
    library.add_file("notes", b"We baked a loaf on Sunday and ate it warm with butter.", "c.txt")
    own = [NewItem(id=f"own-{number}", snippet=text) for number in range(2)]
    library.put_items("notes", np.ones((2, DIMENSIONS)), own)
    hits = library.search("notes", np.ones(DIMENSIONS), "text", threshold=0)
    assert sorted(sorted([hit.name, *(t.name for t in hit.duplicates)]) for hit in hits) == [
        ["a.txt", "b.txt"], ["c.txt"], ["own-0"], ["own-1"],
    ]  # fmt: skip
