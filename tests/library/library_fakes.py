"""A model small enough to compute by hand: a vector is the sum of its words."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from chiasm.errors import UnsupportedMedia
from chiasm.library import Library, LibraryClient, NewItem
from chiasm.library.indexing import Cut, Piece
from chiasm.library.passages import passages
from chiasm.modality import Modality
from chiasm.preprocess import ModelDescription, PreparedItem, PreparedPart
from chiasm.settings import LibrarySettings, Settings
from chiasm.stores import EntryRecord

DIMENSIONS = 32


def vector_of(text: str) -> np.ndarray:
    """A bag of words as a unit vector."""
    total = np.full(DIMENSIONS, 1e-3, np.float32)
    for word in text.lower().split():
        seed = int.from_bytes(hashlib.sha256(word.strip(".,!").encode()).digest()[:4], "little")
        total += np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)
    return total / np.linalg.norm(total)


def prepared(text: str, modality: Modality = Modality.TEXT) -> PreparedItem:
    ids = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    return PreparedItem((PreparedPart(modality, {"token_ids": ids}, 0, 0.1),))


@dataclass
class FakeEmbedder:
    """Remembers what it was asked."""

    revision: str = "r1"
    seen: list[str] = field(default_factory=list)
    calls: int = 0
    calibration: dict = field(default_factory=dict)

    @property
    def description(self) -> ModelDescription:
        return ModelDescription(
            name="fake", revision=self.revision, dimensions=DIMENSIONS, calibration=self.calibration
        )

    def embed_prepared(self, items: Sequence[PreparedItem], *, deadline: float | None = None) -> np.ndarray:
        self.calls += 1
        texts = [bytes(i.parts[0].arrays["token_ids"].astype(np.uint8)).decode() for i in items]
        self.seen += texts
        return np.stack([vector_of(text) for text in texts])


def cutter(path: Path) -> Cut:
    """Text files by passages; a file that begins with ``IMAGE:`` or ``VIDEO:`` stands for such media."""
    data = path.read_bytes()
    if data.startswith(b"BAD"):
        raise UnsupportedMedia("expected media, got a broken file", "应为媒体文件，实际已损坏")
    text = data.decode()
    if text.startswith("IMAGE:"):
        piece = Piece(modality="image", item=prepared(text[6:], Modality.IMAGE))
        return Cut(modality="image", mime="image/png", pieces=[piece])
    if text.startswith("VIDEO:"):
        pieces = [
            Piece(modality="video", item=prepared(scene, Modality.VIDEO), start=6.0 * i, end=6.0 * i + 6)
            for i, scene in enumerate(text[6:].split("|"))
        ]
        return Cut(modality="video", mime="video/mp4", pieces=pieces)
    return Cut(
        modality="text",
        mime="text/plain",
        pieces=[
            Piece(modality="text", item=prepared(p.text), start=p.start, end=p.end, snippet=p.text)
            for p in passages(text, 60)
        ],
    )


def put_item(
    library: Library | LibraryClient,
    store: str,
    vector: np.ndarray,
    item_id: str | None = None,
    **fields: Any,
) -> EntryRecord:
    """Keep one item."""
    revision = fields.pop("revision", None)
    [put] = library.put_items(store, [vector], [NewItem(id=item_id, **fields)], revision=revision)
    return library.entry(store, put.id)


def settings_for(folder: Path, **library: Any) -> Settings:
    """Settings for a library there; words in pictures are read by those tests only that are about them."""
    return replace(Settings(), library=LibrarySettings(data_dir=folder, **{"ocr": False, **library}))


def real_description(calibration: dict | None = None) -> ModelDescription:
    """A description with a tokenizer that knows characters, for the real preprocessor."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    characters = [chr(code) for code in range(32, 127)]
    tokenizer = Tokenizer(models.WordLevel({c: i for i, c in enumerate(["[UNK]", *characters])}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return ModelDescription(
        name="real",
        revision="r1",
        dimensions=DIMENSIONS,
        tokenizer=tokenizer.to_str().encode(),
        calibration=calibration or {},
    )


class HashEmbedder:
    """A model whose vectors depend on everything that it is given, and mean nothing."""

    description = real_description()

    def embed_prepared(self, items: Sequence[PreparedItem], *, deadline: float | None = None) -> np.ndarray:
        seeds = [int.from_bytes(item.key()[:4], "little") for item in items]
        rows = np.stack([np.random.default_rng(seed).standard_normal(DIMENSIONS) for seed in seeds])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
