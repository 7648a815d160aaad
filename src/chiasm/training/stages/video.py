"""The video stage: how things move, on top of what they are.

The motion path learns from procedural clips to add to the content's vector what tells "an apple moving to
the left" from the same apple moving in seven other ways, in English and in Chinese. Content is what the
finished image tower says of the drawing, with noise: its own leanings towards one of the eight sentences are
what motion has to outweigh.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from chiasm.data.builders.clips import OPPOSITE, STILL, make_clip
from chiasm.data.builders.parallel import MOTIONS, with_article
from chiasm.data.builders.plan import Gallery, Placed
from chiasm.models.mini.video import MotionEncoder
from chiasm.training.loop import cosine_rate

KINDS = tuple(MOTIONS)


@dataclass(frozen=True, kw_only=True)
class VideoStageConfig:
    """``spread`` is the factor that makes the small differences between the eight texts count."""

    steps: int = 500
    size: int = 48
    still: float = 0.1
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    spread: float = 150.0
    quiet: float = 0.3
    noise: float = 0.5
    seed: int = 13


@dataclass(frozen=True, slots=True)
class VideoBatch:
    """Clips [b, f, s, s, 3], their things' rows, their motion (8 = still), content [b, d]."""

    frames: Tensor
    thing: Tensor
    motion: Tensor
    content: Tensor


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing to move: where it lies, the row of its thing, and its vector [d] from the image tower."""

    placed: Placed
    thing: int
    content: NDArray[np.float32]


def motion_texts(names: Sequence[str], language: str) -> list[list[str]]:
    """For each name the eight sentences in ``en`` or ``zh``, in the order of ``KINDS``."""
    if language == "zh":
        return [[MOTIONS[kind][1].format(zh=name) for kind in KINDS] for name in names]
    return [[MOTIONS[kind][0].format(en=with_article(name)) for kind in KINDS] for name in names]


class VideoStage:
    """See the module.

    Args:
        drawings: for training. checks: of another drawing family.
        texts: by language the vectors [n, 8, d] of the sentences about each thing.
    """

    name = "video"
    clip = 1.0

    def __init__(
        self,
        module: MotionEncoder,
        *,
        gallery: Gallery,
        drawings: Sequence[Drawing],
        checks: Sequence[Drawing],
        texts: Mapping[str, NDArray[np.float32]],
        config: VideoStageConfig,
    ) -> None:
        self.module = module
        self.gallery = gallery
        self.drawings, self.checks = drawings, checks
        self.texts = {language: torch.from_numpy(vectors) for language, vectors in texts.items()}
        self.config = config
        self.steps = config.steps

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.module.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )

    def learning_rate(self, step: int) -> float:
        return cosine_rate(step, self.steps, self.config.learning_rate, 40)

    def batch(self, step: int) -> VideoBatch:
        return self._clips(self.drawings, np.random.default_rng((self.config.seed, step)), self.config.size)

    def _clips(self, drawings: Sequence[Drawing], rng: np.random.Generator, size: int) -> VideoBatch:
        c = self.config
        chosen = [drawings[int(i)] for i in rng.integers(len(drawings), size=size)]
        motions = np.where(rng.random(size) < c.still, len(KINDS), rng.integers(len(KINDS), size=size))
        frames = np.stack(
            [
                make_clip(
                    self.gallery.sprite(d.placed.family, d.placed.row),
                    STILL if m == len(KINDS) else KINDS[m],
                    rng,
                )
                for d, m in zip(chosen, motions, strict=True)
            ]
        )
        thing = torch.tensor([d.thing for d in chosen])
        content = torch.from_numpy(np.stack([d.content for d in chosen]))
        noise = torch.from_numpy(rng.standard_normal(content.shape).astype(np.float32))
        content = F.normalize(content + c.noise * F.normalize(noise, dim=-1), dim=-1)
        return VideoBatch(torch.from_numpy(frames), thing, torch.from_numpy(motions), content)

    def loss(self, batch: VideoBatch) -> dict[str, Tensor]:
        motion, _ = self.module(batch.frames)
        moving = batch.motion < len(KINDS)
        told = [
            F.cross_entropy(
                self.config.spread * self._differences(batch.content + motion, batch.thing, language)[moving],
                batch.motion[moving],
            )
            for language in self.texts
        ]
        length = motion.square().sum(dim=-1)
        # Still clips must stay what they show; moving ones may turn away from it only as far as they need.
        return {
            "motion": torch.stack(told).mean(),
            "quiet": self.config.quiet * torch.where(moving, 0.1 * length, length).mean(),
        }

    def _differences(self, vectors: Tensor, thing: Tensor, language: str) -> Tensor:
        """How much nearer to each of the eight texts than to their mean, [b, 8]."""
        texts = self.texts[language][thing]
        return torch.einsum("bd,bkd->bk", vectors, texts - texts.mean(dim=1, keepdim=True))

    def evaluate(self) -> dict[str, float]:
        batch = self._clips(self.checks, np.random.default_rng((self.config.seed, 1 << 30)), 240)
        moving = batch.motion < len(KINDS)
        forwards = batch.content + self.module(batch.frames)[0]
        backwards = batch.content + self.module(batch.frames.flip(1))[0]
        opposite = torch.tensor([KINDS.index(OPPOSITE[kind]) for kind in KINDS] + [len(KINDS)])[batch.motion]
        figures: dict[str, float] = {}
        for language in self.texts:
            told = self._differences(forwards, batch.thing, language).argmax(dim=1)
            back = self._differences(backwards, batch.thing, language).argmax(dim=1)
            figures |= {
                f"noto-v1 motion, 8 ways, {language}": _share((told == batch.motion)[moving]),
                f"reversed clips flip, {language}": _share((back == opposite)[moving]),
            }
        return figures


def _share(hits: Tensor) -> float:
    return round(float(hits.float().mean()), 4)
