"""Questions on the default corpus' drawings that no modality answers alone, and models trained on them.

Each question is a drawing of the sample library, seen a little differently every time, and a few words with
the name of a kind: do they name what is drawn? Either kind is asked of either kind as often, so that whoever
has only the words, or only the drawing, is right by chance.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import chiasm.library
from chiasm.models.bert.config import BertConfig
from chiasm.models.vit.config import VitConfig

VISION = VitConfig(side=8, patch=4, width=32, depth=2, heads=4, hidden=64, epsilon=1e-6)
TEXT = BertConfig(vocabulary=20, positions=12, width=32, depth=2, heads=4, hidden=64)
SEEING = replace(VISION, side=24, patch=8)
"""For the drawings; ``VISION`` is for tests that train nothing."""

DRAWINGS = Path(chiasm.library.__file__).parent / "sample" / "pictures"
KINDS = {
    "animal": ("bee", "elephant", "octopus", "panda"),
    "food": ("hamburger", "pizza", "red-apple", "watermelon"),
}
PHRASES = ("{}", "is it {}", "{} is drawn", "one sees {} here", "can this be called {}")
BEGIN, FIRST_WORD = 2, 5
ROOM = 4
"""Pixels by which a drawing is shifted at most."""


class Batch(NamedTuple):
    """uint8 ``[b, 24, 24, 3]``, ids and where they are real ``[b, t]``, and 0 or 1 for no or yes ``[b]``.

    A modality that is None is not there.
    """

    pixels: Tensor | None
    ids: Tensor | None
    mask: Tensor | None
    answers: Tensor

    def only(self, modality: str) -> "Batch":
        """The same without the other modality."""
        if modality == "picture":
            return self._replace(ids=None, mask=None)
        return self._replace(pixels=None)

    def swapped(self) -> "Batch":
        """With everyone's picture at another's question."""
        assert self.pixels is not None
        return self._replace(pixels=self.pixels.roll(1, 0))


class Answers(nn.Module):
    """A model that answers questions; it computes logits of no and yes ``[b, 2]``."""

    rate = 1e-3

    def loss(self, batch: Batch) -> Tensor:
        """What is trained."""
        return F.cross_entropy(self(batch), batch.answers)

    def answers(self, batch: Batch) -> Tensor:
        """0 or 1 for no or yes, ``[b]``."""
        found: Tensor = self(batch).argmax(dim=1)
        return found


@cache
def drawings() -> Tensor:
    """Of either kind, with room to be shifted: uint8 ``[kinds, drawings, side, side, 3]``."""
    side = SEEING.side + ROOM
    found = []
    for names in KINDS.values():
        for name in names:
            with Image.open(DRAWINGS / f"{name}.webp") as picture:
                small = picture.convert("RGB").resize((side, side), Image.Resampling.BOX)
            found.append(torch.from_numpy(np.array(small)))
    return torch.stack(found).unflatten(0, (len(KINDS), -1))


@cache
def phrases() -> tuple[Tensor, Tensor]:
    """Every phrase of every kind, ``[kinds, phrases, t]``: ids, 0 where a shorter one is padded; the mask."""
    asked = [[phrase.format(kind).split() for phrase in PHRASES] for kind in KINDS]
    known = sorted({word for own in asked for words in own for word in words})
    assert FIRST_WORD + len(known) <= TEXT.vocabulary
    ids = torch.zeros((len(KINDS), len(PHRASES), 1 + max(len(words) for words in asked[0])), dtype=torch.long)
    for kind, own in enumerate(asked):
        for n, words in enumerate(own):
            numbers = [BEGIN, *(FIRST_WORD + known.index(word) for word in words)]
            ids[kind, n, : len(numbers)] = torch.tensor(numbers)
    return ids, ids != 0


def questions(n: int, seed: int) -> Batch:
    """So many, with drawings shifted, mirrored and dimmed by chance."""
    g = torch.Generator().manual_seed(seed)
    drawn, named = torch.randint(2, (2, n), generator=g)
    views = drawings().unfold(2, SEEING.side, 1).unfold(3, SEEING.side, 1)
    which = torch.randint(views.shape[1], (n,), generator=g)
    down, right = torch.randint(ROOM + 1, (2, n), generator=g)
    pixels = views[drawn, which, down, right].permute(0, 2, 3, 1)
    mirrored = torch.rand(n, 1, 1, 1, generator=g) < 0.5
    light = 0.7 + 0.3 * torch.rand(n, 1, 1, 1, generator=g)
    pixels = (torch.where(mirrored, pixels.flip(2), pixels) * light).to(torch.uint8)
    ids, mask = phrases()
    phrase = torch.randint(len(PHRASES), (n,), generator=g)
    return Batch(pixels, ids[named, phrase], mask[named, phrase], (drawn == named).long())


def head(width: int) -> nn.Module:
    """Vector → no or yes."""
    return nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, 2))


def learn(model: Answers, *, steps: int = 300, seen: Callable[[Batch], Batch] = lambda batch: batch) -> None:
    """Train it on what is ``seen`` of so many batches, or until it answers a few all but certainly right."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    best = torch.optim.AdamW(weights, lr=model.rate, weight_decay=0.0)
    right = 0
    for step in range(steps):
        loss = model.loss(seen(questions(64, seed=step)))
        best.zero_grad()
        loss.backward()
        best.step()
        right = right + 1 if loss < 0.1 else 0
        if right == 3:
            break


@torch.no_grad()
def accuracy(model: Answers, batch: Batch) -> float:
    """Share of right answers."""
    return float((model.answers(batch) == batch.answers).double().mean())
