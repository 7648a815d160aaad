"""The image tower: an EfficientNet-Lite0 trunk and the head that lifts its features into the text space.

Two paths are added up. The pooled path maps the trunk's 1280 pooled features, which know photographs,
by a small MLP. The token path reads the maps themselves: a few queries, one of them the pooled path's
answer, look across at the patches; its output layer starts at zero, so that the head begins as the
pooled path alone and the patches only ever correct it.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.efficientnet.config import EfficientNetConfig
from chiasm.models.efficientnet.model import LOWER, EfficientNet
from chiasm.nn.blocks import BlockConfig, Encoder
from chiasm.nn.relevance import Flow, Step
from chiasm.preprocess.places import Place, patch_places


@dataclass(frozen=True, kw_only=True)
class ImageHeadConfig:
    """Shape of the head.

    Attributes:
        pooled, coarse, fine: channels of the trunk's features. positions: cells of the coarse map.
        hidden: of the pooled path's MLP. width, heads, feed_forward, depth, queries: of the token path.
        dim: of the text space. conse_weight: of the classifier's word beside the head's, both unit vectors.
        flat_middle, flat_width: share of equal neighbours at which a picture is as likely a photograph as a
        drawing, and how sharply that turns.
    """

    pooled: int = 1280
    coarse: int = 320
    fine: int = 112
    positions: int = 36
    hidden: int = 1024
    width: int = 256
    heads: int = 4
    feed_forward: int = 512
    depth: int = 2
    queries: int = 4
    dim: int = 384
    conse_weight: float = 0.5
    flat_middle: float = 0.74
    flat_width: float = 0.04


class ImageHead(nn.Module):
    """Trunk features → tokens and one vector in the text space."""

    def __init__(self, config: ImageHeadConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.pooled_norm = nn.LayerNorm(c.pooled)
        self.pooled_expand = nn.Linear(c.pooled, c.hidden)
        self.pooled_contract = nn.Linear(c.hidden, c.dim)
        self.pooled_linear = nn.Linear(c.pooled, c.dim)
        self.coarse = nn.Linear(c.coarse, c.width)
        self.fine = nn.Linear(c.fine, c.width, bias=False)
        self.position = nn.Parameter(torch.randn(c.positions, c.width) * 0.02)
        self.patch_norm = nn.LayerNorm(c.width)
        self.question = nn.Linear(c.dim, c.width)
        self.query = nn.Parameter(torch.randn(c.queries, c.width) * 0.5)
        block = BlockConfig(width=c.width, heads=c.heads, hidden=c.feed_forward, context_width=c.width)
        self.encoder = Encoder(block, c.depth)
        self.correction = nn.Linear(c.width * (c.queries + 1), c.dim)
        self.token = nn.Linear(c.width, c.dim)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def pooled_vector(self, pooled_bc: Tensor) -> Tensor:
        """The pooled path alone: ``[b, 1280]`` → ``[b, dim]``, not normalised."""
        x = self.pooled_norm(pooled_bc)
        out: Tensor = self.pooled_contract(F.gelu(self.pooled_expand(x))) + self.pooled_linear(x)
        return out

    def forward(self, tokens_bpc: Tensor, pooled_bc: Tensor) -> tuple[Tensor, Tensor]:
        """``tokens`` [b, p, coarse + fine], ``pooled`` [b, 1280] → (vector [b, dim], tokens [b, p, dim])."""
        c = self.config
        start = self.pooled_vector(pooled_bc)
        coarse, fine = torch.split(tokens_bpc, [c.coarse, c.fine], dim=-1)
        patches = self.patch_norm(self.coarse(coarse) + self.fine(fine) + self.position)
        asked = self.question(F.normalize(start, dim=-1)).unsqueeze(1)
        queries = torch.cat([asked, self.query.expand(len(start), -1, -1)], dim=1)
        states = self.encoder(queries, context_bsd=patches)
        return start + self.correction(states.flatten(1)), self.token(patches)


class ImageTower(nn.Module):
    """Pixels → tokens and one vector.

    With a trunk that still has its classifier, pictures that look like photographs also get ConSE's vector
    (Norouzi et al. 2014, eq. 4): the mean of the class names' text vectors under the classifier's
    probabilities. The head learnt photographs second-hand, from synthetic maps; the classifier saw them.
    """

    def __init__(self, trunk: EfficientNetConfig, head: ImageHeadConfig) -> None:
        super().__init__()
        self.trunk = EfficientNet(trunk)
        self.head = ImageHead(head)
        self.class_vectors: nn.Parameter | None = None
        if self.trunk.classifier is not None:
            self.class_vectors = nn.Parameter(torch.zeros(trunk.classes, head.dim), requires_grad=False)

    def flow(self) -> Flow:
        """Who looks at whom: the mean over the coarse map at it, then the queries at themselves and at it."""
        patches, queries = self.head.config.positions, self.head.config.queries + 1
        seen, asking = range(patches), range(patches, patches + queries)
        pooled = patches + queries
        groups = [[Step(self.trunk.mean, [pooled], seen)], *self.head.encoder.looks(asking, seen)]
        return Flow(groups=groups, readers=[*asking, pooled], count=pooled + 1)

    def places(self) -> list[Place]:
        """What the cells of the coarse map are."""
        side = math.isqrt(self.head.config.positions)
        return patch_places(side, side)

    def freeze_published(self) -> Self:
        """Let only the head and the trunk's upper part learn; the rest stays as it was published."""
        trunk = self.trunk
        for frozen in (trunk.stem, trunk.stem_norm, *trunk.stages[:LOWER], trunk.classifier):
            if frozen is not None:
                frozen.requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> Self:
        """The trunk's batch norms keep the statistics of the photographs that it was published with."""
        super().train(mode)
        self.trunk.eval()
        return self

    def forward(self, pixels_bhwc: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 ``[b, s, s, 3]`` → (vector [b, dim], tokens [b, p, dim])."""
        tokens, pooled = self.read(pixels_bhwc)
        vector, patches = self.head(tokens, pooled)
        if self.class_vectors is None:
            return vector, patches
        named, confidence = self.conse(pooled)
        share = (
            self.head.config.conse_weight * confidence.sqrt() * photographic(pixels_bhwc, self.head.config)
        )
        return F.normalize(vector, dim=-1) + share.unsqueeze(-1) * named, patches

    def conse(self, pooled_bc: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors ``[b, dim]`` of the ten likeliest classes' names, and the best one's share [b]."""
        assert self.trunk.classifier is not None
        assert self.class_vectors is not None
        likeliest = (
            self.trunk.classifier(pooled_bc).softmax(dim=-1).topk(min(10, len(self.class_vectors)), dim=-1)
        )
        named = torch.einsum("bk,bkd->bd", likeliest.values, self.class_vectors[likeliest.indices])
        return F.normalize(named, dim=-1), likeliest.values[:, 0]

    def read(self, pixels_bhwc: Tensor) -> tuple[Tensor, Tensor]:
        """The trunk's features as the head wants them: tokens [b, p, coarse + fine] and pooled [b, 1280]."""
        x = pixels_bhwc.permute(0, 3, 1, 2).to(self.trunk.stem.weight.dtype)
        return self.read_fine(self.trunk.lower((x - 127.0) / 128.0))

    def read_fine(self, fine: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`read`, from the trunk's fine maps ``[b, 112, h, w]`` on."""
        features = self.trunk.upper(fine)
        maps = torch.cat([features.coarse, F.avg_pool2d(features.fine, 2)], dim=1)
        return maps.flatten(2).transpose(1, 2), features.pooled


def photographic(pixels_bhwc: Tensor, config: ImageHeadConfig) -> Tensor:
    """How much pictures look like photographs rather than drawings, ``[b]`` in (0, 1).

    Drawings are flat: next to nearly every pixel lies an equal one. Noise and texture leave few such pairs in
    a photograph.
    """
    step = pixels_bhwc[:, :, 1:].to(torch.int16) - pixels_bhwc[:, :, :-1].to(torch.int16)
    flat = (step.abs().amax(dim=-1) <= 2).float().mean(dim=(1, 2))
    return torch.sigmoid((config.flat_middle - flat) / config.flat_width)
