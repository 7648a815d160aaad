"""The video stage: how things move, on top of what they are.

The motion path learns from procedural clips to add to the content's vector what tells "an apple moving to
the left" from the same apple moving in seven other ways. Content is stood in for by the name's text vector
with noise, so that this stage does not wait for the image tower.
"""

from collections.abc import Sequence
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
    noise: float = 0.9
    seed: int = 13


@dataclass(frozen=True, slots=True)
class VideoBatch:
    """Clips [b, f, s, s, 3], their things' rows, their motion (8 = still), content [b, d]."""

    frames: Tensor
    thing: Tensor
    motion: Tensor
    content: Tensor


def motion_texts(names: Sequence[str]) -> list[list[str]]:
    """For each name the eight sentences, in the order of ``KINDS``."""
    return [[MOTIONS[kind][0].format(en=with_article(name)) for kind in KINDS] for name in names]


class VideoStage:
    """See the module.

    Args:
        drawings: training sprites with the row of their name; checks: of another drawing family.
        texts: [n, 8, d] vectors of the moving things. names: [n, d] of the things.
    """

    name = "video"
    clip = 1.0

    def __init__(
        self,
        module: MotionEncoder,
        *,
        gallery: Gallery,
        drawings: Sequence[tuple[Placed, int]],
        checks: Sequence[tuple[Placed, int]],
        texts: NDArray[np.float32],
        names: NDArray[np.float32],
        config: VideoStageConfig,
    ) -> None:
        self.module = module
        self.gallery = gallery
        self.drawings, self.checks = drawings, checks
        self.texts, self.names = torch.from_numpy(texts), torch.from_numpy(names)
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

    def _clips(
        self, drawings: Sequence[tuple[Placed, int]], rng: np.random.Generator, size: int
    ) -> VideoBatch:
        c = self.config
        chosen = [drawings[int(i)] for i in rng.integers(len(drawings), size=size)]
        motions = np.where(rng.random(size) < c.still, len(KINDS), rng.integers(len(KINDS), size=size))
        frames = np.stack(
            [
                make_clip(self.gallery.sprite(p.family, p.row), STILL if m == len(KINDS) else KINDS[m], rng)
                for (p, _), m in zip(chosen, motions, strict=True)
            ]
        )
        thing = torch.tensor([row for _, row in chosen])
        noise = torch.from_numpy(rng.standard_normal((size, self.names.shape[1])).astype(np.float32))
        content = F.normalize(self.names[thing] + c.noise * F.normalize(noise, dim=-1), dim=-1)
        return VideoBatch(torch.from_numpy(frames), thing, torch.from_numpy(motions), content)

    def loss(self, batch: VideoBatch) -> dict[str, Tensor]:
        motion, _ = self.module(batch.frames)
        moving = batch.motion < len(KINDS)
        logits = self.config.spread * self._differences(batch.content + motion, batch.thing)
        length = motion.square().sum(dim=-1)
        # Still clips must stay what they show; moving ones may turn away from it only as far as they need.
        return {
            "motion": F.cross_entropy(logits[moving], batch.motion[moving]),
            "quiet": self.config.quiet * torch.where(moving, 0.1 * length, length).mean(),
        }

    def _differences(self, vectors: Tensor, thing: Tensor) -> Tensor:
        """How much nearer to each of the eight texts than to their mean, [b, 8]."""
        texts = self.texts[thing]
        return torch.einsum("bd,bkd->bk", vectors, texts - texts.mean(dim=1, keepdim=True))

    def evaluate(self) -> dict[str, float]:
        batch = self._clips(self.checks, np.random.default_rng((self.config.seed, 1 << 30)), 240)
        moving = batch.motion < len(KINDS)
        told = self._differences(batch.content + self.module(batch.frames)[0], batch.thing).argmax(dim=1)
        back = self._differences(batch.content + self.module(batch.frames.flip(1))[0], batch.thing).argmax(
            dim=1
        )
        opposite = torch.tensor([KINDS.index(OPPOSITE[kind]) for kind in KINDS] + [len(KINDS)])[batch.motion]
        return {
            "noto-v1 motion, 8 ways": round(float((told == batch.motion)[moving].float().mean()), 4),
            "reversed clips flip": round(float((back == opposite)[moving].float().mean()), 4),
        }
