"""The video tower: what the frames show, from the image tower, plus how it moves, from tubelets."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.nn.blocks import BlockConfig, Encoder
from chiasm.nn.pooling import MeanPool
from chiasm.nn.positions import sinusoids
from chiasm.nn.stems import TubeletStem


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """Shape of the motion path, which sees small grey frames.

    Attributes:
        side: pixels of a frame. patch: pixels of a tubelet. span: frames of a tubelet, one frame apart.
        width, heads, hidden, depth: of its Transformer. dim: of the text space. content_stride: every so many
        frames, one goes through the image tower.
    """

    side: int = 48
    patch: int = 8
    span: int = 2
    width: int = 128
    heads: int = 4
    hidden: int = 256
    depth: int = 2
    dim: int = 384
    content_stride: int = 2


class MotionEncoder(nn.Module):
    """Frames → a vector that says how things move, and one token a time step."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.stem = TubeletStem(2, c.span, 1, c.patch, c.width)
        self.place = nn.Parameter(torch.randn((c.side // c.patch) ** 2, c.width) * 0.02)
        self.encoder = Encoder(BlockConfig(width=c.width, heads=c.heads, hidden=c.hidden), c.depth)
        self.mean = MeanPool()
        self.token = nn.Linear(c.width, c.dim)
        self.output = nn.Linear(c.width, c.dim)

    def forward(self, frames_bfhwc: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 ``[b, f, s, s, 3]``, f ≥ 2 → (motion [b, dim], tokens [b, f - 1, dim])."""
        stem: Tensor = self.stem(self.contrast(frames_bfhwc))
        b, t, p, width = stem.shape
        time = sinusoids(t, width).to(stem)
        x = (stem + self.place + time[:, None]).reshape(b, t * p, width)
        cells = self.encoder(x).view(b, t, p, width)
        return self.output(self.mean(cells.flatten(1, 2))), self.token(cells.mean(dim=2))

    def contrast(self, frames_bfhwc: Tensor) -> Tensor:
        """Small grey frames ``[b, 2, f, side, side]``: difference from the clip's mean, and from the frame
        before, in units of the clip's spread.
        """
        b, f = frames_bfhwc.shape[:2]
        grey = frames_bfhwc.to(self.output.weight.dtype).mean(dim=-1) / 255.0
        small = F.adaptive_avg_pool2d(grey.flatten(0, 1).unsqueeze(1), self.config.side).view(b, f, -1)
        centred = small - small.mean(dim=1, keepdim=True)
        # A clip in which nothing moves has no spread; the floor keeps its noise from being blown up.
        centred = centred / centred.std(dim=(1, 2), keepdim=True).clamp(min=0.02)
        change = torch.diff(centred, dim=1, prepend=centred[:, :1])
        side = self.config.side
        return torch.stack([centred, change], dim=1).view(b, 2, f, side, side)
