"""The fusion stage: what several parts mean together.

Two kinds of mixed items, both decidable only from all of their parts: a picture and a word that changes it (a
red apple + "green" → a green apple), and two things given in any two modalities (picture + word, picture +
picture, word + spoken word … → both of them). The targets are text vectors; each part alone is a negative.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from chiasm.data.builders.palette import COLOURS
from chiasm.modality import Modality
from chiasm.models.mini.fusion import Encoded, Fusion
from chiasm.training.loop import cosine_rate

COLOUR_WORDS: tuple[tuple[str, str], ...] = (
    ("{c}", "{z}色"),
    ("in {c}", "{z}色的"),
    ("a {c} one", "一个{z}色的"),
    ("make it {c}", "把它变成{z}色"),
    ("the same but {c}", "一样的，但是{z}色"),
    ("change the colour to {c}", "颜色换成{z}色"),
)


@dataclass(frozen=True, kw_only=True)
class FusionStageConfig:
    """``change`` is the share of items with a changed attribute; the rest join two things."""

    steps: int = 420
    size: int = 64
    change: float = 0.5
    chinese: float = 0.35
    as_clip: float = 0.1
    hearing_noise: float = 0.6
    learning_rate: float = 8e-4
    weight_decay: float = 0.05
    scale: float = 30.0
    seed: int = 17


@dataclass(frozen=True, slots=True)
class Thing:
    """A concept in every form it can be given in.

    Attributes:
        en, zh: names. vector: text vector [d]. pictures: rows of features. colours: text vectors [11, d] of
            the thing in each colour, in the order of ``COLOURS``.
    """

    en: str
    zh: str
    vector: NDArray[np.float32]
    pictures: NDArray[np.int64]
    colours: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two things and the vector of both."""

    first: int
    second: int
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """How one part of an item is given: a text, a stored picture, or a tower's vector (sound)."""

    modality: Modality
    text: str = ""
    row: int = -1
    vector: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class FusionBatch:
    """Items as parts, candidates [m, d], and each item's right candidate."""

    items: list[list[Part]]
    candidates: Tensor
    label: Tensor


Encode = Callable[[Sequence[Part]], list[Encoded]]


class FusionStage:
    """See the module.

    Args:
        encode: the frozen towers.
        allowed: which (thing, colour) combinations may be trained on, bool [n, 11].
    """

    name = "fusion"
    clip = 1.0

    def __init__(
        self,
        module: Fusion,
        *,
        encode: Encode,
        things: Sequence[Thing],
        pairs: Sequence[Pair],
        held_pairs: Sequence[Pair],
        allowed: NDArray[np.bool_],
        config: FusionStageConfig,
    ) -> None:
        self.module = module
        self.encode = encode
        self.things, self.pairs, self.held_pairs = things, pairs, held_pairs
        self.allowed = allowed
        self.config = config
        self.steps = config.steps
        self._colourful = [i for i, thing in enumerate(things) if len(thing.pictures)]

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.module.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )

    def learning_rate(self, step: int) -> float:
        return cosine_rate(step, self.steps, self.config.learning_rate, 30)

    def batch(self, step: int) -> FusionBatch:
        rng = np.random.default_rng((self.config.seed, step))
        return self._draw(
            rng, self.pairs, self.allowed, round(self.config.size * self.config.change), self.config.size
        )

    def _draw(
        self,
        rng: np.random.Generator,
        pairs: Sequence[Pair],
        allowed: NDArray[np.bool_],
        change: int,
        size: int,
    ) -> FusionBatch:
        items: list[list[Part]] = []
        candidates: list[NDArray[np.float32]] = []
        label: list[int] = []
        for _ in range(change):
            parts, vectors, right = self._changed(rng, allowed)
            items.append(parts)
            label.append(len(candidates) + right)
            candidates.extend(vectors)
        for _ in range(size - change):
            pair = pairs[int(rng.integers(len(pairs)))]
            first, second = self.things[pair.first], self.things[pair.second]
            items.append([self._form(first, rng), self._form(second, rng)])
            label.append(len(candidates))
            candidates.extend([pair.vector, first.vector, second.vector])
        return FusionBatch(items, torch.from_numpy(np.stack(candidates)), torch.tensor(label))

    def _changed(
        self, rng: np.random.Generator, allowed: NDArray[np.bool_]
    ) -> tuple[list[Part], list[NDArray[np.float32]], int]:
        """A picture and a colour word, in either order; the thing in every colour is a candidate."""
        while True:
            index = self._colourful[int(rng.integers(len(self._colourful)))]
            open_to = np.flatnonzero(allowed[index])
            if len(open_to):
                break
        colour = int(rng.choice(open_to))
        thing = self.things[index]
        en, zh = COLOUR_WORDS[int(rng.integers(len(COLOUR_WORDS)))]
        term = list(COLOURS.values())[colour]
        text = zh.format(z=term.zh) if rng.random() < self.config.chinese else en.format(c=term.en)
        parts = [self._picture(thing, rng), Part(Modality.TEXT, text=text)]
        if rng.random() < 0.4:
            parts.reverse()
        return parts, [*thing.colours, thing.vector], colour

    def _form(self, thing: Thing, rng: np.random.Generator) -> Part:
        """The thing as a picture, a clip, a word or a spoken word."""
        kind = rng.random()
        if kind < 0.5 and len(thing.pictures):
            return self._picture(thing, rng)
        if kind < 0.65:
            # An understood spoken word lies near its text vector: no need to wait for the audio tower.
            noise = rng.standard_normal(len(thing.vector)).astype(np.float32)
            heard = thing.vector + self.config.hearing_noise * noise / np.linalg.norm(noise)
            return Part(Modality.AUDIO, vector=heard.astype(np.float32))
        return Part(Modality.TEXT, text=thing.zh if rng.random() < self.config.chinese else thing.en)

    def _picture(self, thing: Thing, rng: np.random.Generator) -> Part:
        modality = Modality.VIDEO if rng.random() < self.config.as_clip else Modality.IMAGE
        return Part(modality, row=int(rng.choice(thing.pictures)))

    def fuse(self, items: Sequence[Sequence[Part]]) -> tuple[Tensor, list[list[Encoded]]]:
        """Unit vectors of items, and what their parts said."""
        flat = [part for item in items for part in item]
        with torch.no_grad():
            encoded = iter(self.encode(flat))
        grouped = [[next(encoded) for _ in item] for item in items]
        return self.module(grouped), grouped

    def loss(self, batch: FusionBatch) -> dict[str, Tensor]:
        vectors, _ = self.fuse(batch.items)
        logits = self.config.scale * vectors @ batch.candidates.to(vectors).T
        return {"fusion": F.cross_entropy(logits, batch.label.to(vectors.device))}

    def evaluate(self) -> dict[str, float]:
        """R@1 on held-out colour x thing and thing x thing combinations: fused, and the better part alone."""
        figures: dict[str, float] = {}
        rng = np.random.default_rng((self.config.seed, 1 << 30))
        for name, change in (("changed", 192), ("joined", 0)):
            batch = self._draw(rng, self.held_pairs, ~self.allowed, change, 192)
            fused, parts = self.fuse(batch.items)
            gallery = batch.candidates.to(fused)
            target = gallery[batch.label]
            figures[f"{name} fused R@1"] = _hits(fused, gallery, target)
            first = torch.stack([F.normalize(item[0].vector, dim=-1) for item in parts])
            second = torch.stack([F.normalize(item[1].vector, dim=-1) for item in parts])
            figures[f"{name} better part R@1"] = max(
                _hits(first, gallery, target), _hits(second, gallery, target)
            )
            figures[f"{name} sum R@1"] = _hits(F.normalize(first + second, dim=-1), gallery, target)
        return figures


def _hits(vectors: Tensor, gallery: Tensor, target: Tensor) -> float:
    """Share of vectors whose nearest candidate is their target (or an equal one)."""
    best = gallery[(vectors @ gallery.T).argmax(dim=1)]
    return round(float(((best - target).abs().amax(dim=1) < 1e-5).float().mean()), 4)
