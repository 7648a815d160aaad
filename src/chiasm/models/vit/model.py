"""ViT (Dosovitskiy et al. 2021, eq. 1–4): patches and positions through pre-norm Transformer blocks."""

import torch
from torch import Tensor, nn

from chiasm.models.vit.config import VitConfig
from chiasm.nn.attention import MultiHeadAttention
from chiasm.nn.blocks import BlockConfig, Encoder, FeedForward
from chiasm.nn.pooling import MeanPool
from chiasm.nn.positions import interpolate_grid
from chiasm.nn.relevance import Flow, Step
from chiasm.nn.stems import PatchStem
from chiasm.preprocess.places import Place, patch_places


class Vit(nn.Module):
    """The trunk and its pooling."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.folded = False
        self.stem = PatchStem(3, c.patch, c.width, bias=c.patch_bias)
        self.class_token = nn.Parameter(torch.zeros(c.width)) if c.class_token else None
        self.position = nn.Parameter(torch.zeros(c.grid**2 + c.class_token, c.width))
        self.first_norm = nn.LayerNorm(c.width, eps=c.epsilon) if c.norm_first else nn.Identity()
        block = BlockConfig(
            width=c.width, heads=c.heads, hidden=c.hidden, activation=c.activation, epsilon=c.epsilon
        )
        self.encoder = Encoder(block, c.depth)
        self.pool = MapPooling(block) if c.pooling == "map" else None
        self.mean = MeanPool()

    def forward(self, pixels_bhwc: Tensor) -> tuple[Tensor, Tensor]:
        """One vector a picture ``[b, width]`` and its tokens ``[b, t, width]``, the class token first.

        Args:
            pixels_bhwc: uint8; other sizes than the trained one interpolate the positions.
        """
        x_btd = self._embedded(pixels_bhwc)
        for block in self.encoder.blocks:
            x_btd = block(x_btd)
        if self.config.norm_last == "states":
            x_btd = self.encoder.norm(x_btd)
            return self.pooled(x_btd), x_btd
        return self.encoder.norm(self.pooled(x_btd)), x_btd

    def vector(self, pixels_bhwc: Tensor) -> Tensor:
        """The vectors of :meth:`forward` alone; sooner where the class token stands for a picture."""
        if self.config.pooling != "class":
            pooled: Tensor = self(pixels_bhwc)[0]
            return pooled
        first_b = torch.zeros(len(pixels_bhwc), dtype=torch.long, device=pixels_bhwc.device)
        return self.encoder.at(self._embedded(pixels_bhwc), first_b)

    def fold_pixels(self) -> None:
        """Make the normalisation of pixels a part of the patches' projection, in place and for inference
        only: then it costs nothing."""
        if self.folded:
            return
        project = self.stem.project
        kind = project.weight.dtype
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (self.config.mean, self.config.std))
        weight = project.weight.double() / std.view(1, 3, 1, 1)
        # counted from 128, so that neither the numbers nor the bias are large
        bias = (weight * (128 / 255 - mean).view(1, 3, 1, 1)).sum(dim=(1, 2, 3))
        if project.bias is not None:
            bias = bias + project.bias.double()
        project.weight = nn.Parameter((weight / 255).to(kind), requires_grad=False)
        project.bias = nn.Parameter(bias.to(kind), requires_grad=False)
        self.folded = True

    def _embedded(self, pixels_bhwc: Tensor) -> Tensor:
        x_bchw = self.normalise(pixels_bhwc)
        rows, columns = (n // self.config.patch for n in x_bchw.shape[2:])
        x_btd = self.stem(x_bchw)
        if self.class_token is not None:
            x_btd = torch.cat([self.class_token.expand(len(x_btd), 1, -1), x_btd], dim=1)
        out: Tensor = self.first_norm(x_btd + self.positions(rows, columns))
        return out

    def normalise(self, pixels_bhwc: Tensor) -> Tensor:
        """uint8 ``[b, h, w, 3]`` → ``[b, 3, h, w]`` of the type of the weights, by mean and deviation."""
        kind = self.position.dtype
        if self.folded:
            return (pixels_bhwc.to(kind) - 128).permute(0, 3, 1, 2)
        mean, std = (pixels_bhwc.new_tensor(v, dtype=kind) for v in (self.config.mean, self.config.std))
        return ((pixels_bhwc.to(kind) / 255 - mean) / std).permute(0, 3, 1, 2)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Positions ``[t, width]`` of a grid, bicubically resized if it is not the trained one."""
        old = (self.config.grid, self.config.grid)
        first = int(self.config.class_token)
        patches = interpolate_grid(self.position[first:], old, (rows, columns), mode="bicubic")
        return torch.cat([self.position[:first], patches])

    def places(self, height: int | None = None, width: int | None = None) -> list[Place]:
        """What the positions are for pictures of so many pixels; of the trained size without."""
        sides = (height or self.config.side, width or self.config.side)
        rows, columns = (side // self.config.patch for side in sides)
        return patch_places(rows, columns, class_token=self.config.class_token)

    def flow(self) -> Flow:
        """Who looks at whom in pictures of the trained size, and who stands for the picture."""
        first, t = int(self.config.class_token), len(self.places())
        groups = self.encoder.looks(range(t))
        if self.config.pooling == "class":
            return Flow(groups=groups, readers=[0], count=t)
        if self.pool is not None:
            pooled = Step(self.pool.attention, [t], range(t))
        else:
            pooled = Step(self.mean, [t], range(first, t))
        return Flow(groups=[*groups, [pooled]], readers=[t], count=t + 1)

    def pooled(self, states_btd: Tensor) -> Tensor:
        """What stands for the whole picture, ``[b, width]``."""
        if self.pool is not None:
            vector: Tensor = self.pool(states_btd)
            return vector
        if self.config.pooling == "class":
            return states_btd[:, 0]
        pooled: Tensor = self.mean(states_btd[:, int(self.config.class_token) :])
        return pooled


class MapPooling(nn.Module):
    """A learnt query looks at all tokens, then a feed-forward layer (Zhai et al. 2022, appendix C)."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(config.width))
        self.attention = MultiHeadAttention(config.width, config.heads)
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.feed_forward = FeedForward(config.width, config.hidden, config.activation)

    def forward(self, states_btd: Tensor) -> Tensor:
        """``[b, t, width]`` → ``[b, width]``."""
        seen = self.attention(self.query.expand(len(states_btd), 1, -1), states_btd)
        out: Tensor = (seen + self.feed_forward(self.norm(seen)))[:, 0]
        return out
