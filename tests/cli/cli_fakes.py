"""A model without weights: words are random directions, pictures lie on the word for their colour."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from chiasm.media import item_of_value
from chiasm.preprocess import ModelDescription, PreparedItem, PreparedPart, Preprocessor
from chiasm.settings import Limits

DIMENSIONS = 64
WORDS = (
    "[PAD]",
    "[UNK]",
    "red",
    "green",
    "apple",
    "boat",
    "sea",
    "train",
    "bread",
    "note",
    "a",
    "the",
    "on",
    "in",
)


def tokenizer() -> bytes:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made.to_str().encode()


def direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
    return np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)


class FakeModel:
    """What ``chiasm.load()`` gives, as far as the command line uses it."""

    def __init__(self) -> None:
        self.description = ModelDescription(
            name="fake",
            revision="r1",
            dimensions=DIMENSIONS,
            tokenizer=tokenizer(),
            backend="numpy",
            licence="CC0-1.0",
            capabilities=("embed", "classify"),
            metrics={"R@1": 0.5},
        )
        self.preprocessor = Preprocessor(self.description)

    def embed(self, values: Sequence[object]) -> np.ndarray:
        items = [item_of_value(value, Limits()) for value in values]
        return self.embed_prepared([self.preprocessor.prepare(item) for item in items])

    def embed_prepared(self, items: Sequence[PreparedItem], *, deadline: float | None = None) -> np.ndarray:
        rows = np.stack([sum(_vector(part) for part in item.parts) for item in items])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _vector(part: PreparedPart) -> np.ndarray:
    if "token_ids" in part.arrays:
        words = [WORDS[i] for i in part.arrays["token_ids"] if i < len(WORDS)]
        return sum((direction(word) for word in words), 1e-3 * direction("nothing"))
    if "pixels" in part.arrays:
        red, green, _ = part.arrays["pixels"].reshape(-1, 3).mean(axis=0)
        return direction("red" if red > green else "green")
    return direction("sound")


def load(source: str | None = None, *, device: str = "auto", precision: str = "float32") -> FakeModel:
    return FakeModel()


def picture(path: Path, colour: tuple[int, int, int]) -> Path:
    from PIL import Image

    Image.new("RGB", (64, 64), colour).save(path)
    return path
