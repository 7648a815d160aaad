"""Fusion of modalities: combinations of one vector each (late), and a stream beside encoders (hierarchical).

Modalities are along the axis m, in one order that the weights know. What is missing from a row is False in
``present_bm``: a combination then weighs what is left.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from chiasm.nn.blocks import Block, BlockConfig

Combining = Literal["sum", "gate", "bilinear", "mlp"]


class Adapter(nn.Module):
    """Normalised states of one encoder → the common width, marked by what they are of."""

    def __init__(self, source: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(source)
        self.project = nn.Linear(source, width)
        self.kind = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """``[…, source]`` → ``[…, width]``."""
        out: Tensor = self.project(self.norm(x)) + self.kind
        return out


class StandIn(nn.Module):
    """A learnt vector for each modality, which takes the place of one that is missing."""

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.missing_md = nn.Parameter(torch.randn(modalities, width) * 0.02)

    def vectors(self, x_bmd: Tensor, present_bm: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors with the missing ones replaced; now all are present."""
        return torch.where(present_bm.unsqueeze(-1), x_bmd, self.missing_md), torch.ones_like(present_bm)

    def sequence(self, index: int, x_btd: Tensor, mask_bt: Tensor) -> tuple[Tensor, Tensor]:
        """States of one modality and one position more, which is real where none of the others is."""
        extra_b1d = self.missing_md[index].expand(len(x_btd), 1, -1)
        absent_b1 = ~mask_bt.any(dim=1, keepdim=True)
        return torch.cat([x_btd, extra_b1d], dim=1), torch.cat([mask_bt, absent_b1], dim=1)


class Sum(nn.Module):
    """Sum of the vectors that are there, scaled to the number of all."""

    def forward(self, x_bmd: Tensor, present_bm: Tensor) -> Tensor:
        """``[b, m, d]`` → ``[b, d]``."""
        kept = x_bmd.masked_fill(~present_bm.unsqueeze(-1), 0.0).sum(dim=1)
        return kept * (x_bmd.shape[1] / present_bm.sum(dim=1, keepdim=True).clamp(min=1))


class Gate(nn.Module):
    """Gated multimodal unit (Arevalo et al. 2017, fig. 2): Σ softmax(z)_m · tanh(W_m x_m).

    All vectors together decide z, for each dimension; the softmax is over the modalities that are there.
    """

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.content = nn.ModuleList(nn.Linear(width, width) for _ in range(modalities))
        self.gate = nn.Linear(modalities * width, modalities * width)

    def forward(self, x_bmd: Tensor, present_bm: Tensor) -> Tensor:
        """``[b, m, d]`` → ``[b, d]``."""
        present_bm1 = present_bm.unsqueeze(-1)
        x_bmd = x_bmd.masked_fill(~present_bm1, 0.0)
        content_bmd = torch.stack([map_(x_bmd[:, n]) for n, map_ in enumerate(self.content)], dim=1).tanh()
        z_bmd = self.gate(x_bmd.flatten(1)).view_as(x_bmd).masked_fill(~present_bm1, -torch.inf)
        gates_bmd = z_bmd.softmax(dim=1).masked_fill(~present_bm1, 0.0)
        out: Tensor = (gates_bmd * content_bmd).sum(dim=1)
        return out


class Bilinear(nn.Module):
    """Low-rank outer product (Liu et al. 2018, eq. 6 to 8): Σ_r Π_m W_m^r [x_m; 1].

    The appended 1 (the bias) keeps products of fewer modalities; one that is missing is a factor of 1.
    """

    def __init__(self, modalities: int, width: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.factors = nn.ModuleList(nn.Linear(width, rank * width) for _ in range(modalities))
        self.weigh = nn.Linear(rank, 1)
        for factor in self.factors:
            assert isinstance(factor, nn.Linear)
            nn.init.ones_(factor.bias)  # products of small numbers would vanish

    def forward(self, x_bmd: Tensor, present_bm: Tensor) -> Tensor:
        """``[b, m, d]`` → ``[b, d]``."""
        b, _, d = x_bmd.shape
        product = x_bmd.new_ones((b, self.rank * d))
        for n, factor in enumerate(self.factors):
            product = product * factor(x_bmd[:, n]).masked_fill(~present_bm[:, n, None], 1.0)
        out: Tensor = self.weigh(product.view(b, self.rank, d).transpose(1, 2)).squeeze(-1)
        return out


class Mlp(nn.Module):
    """Two linear maps of the concatenated vectors; needs all of them, see :class:`StandIn`."""

    def __init__(self, modalities: int, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(modalities * width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, x_bmd: Tensor, present_bm: Tensor) -> Tensor:
        """``[b, m, d]`` → ``[b, d]``."""
        out: Tensor = self.layers(x_bmd.masked_fill(~present_bm.unsqueeze(-1), 0.0).flatten(1))
        return out


def make_combination(kind: Combining, modalities: int, width: int, *, rank: int, hidden: int) -> nn.Module:
    """The combination named ``kind``, from ``[b, m, width]`` to ``[b, width]``."""
    if kind == "sum":
        return Sum()
    if kind == "gate":
        return Gate(modalities, width)
    if kind == "bilinear":
        return Bilinear(modalities, width, rank)
    if kind == "mlp":
        return Mlp(modalities, width, hidden)
    raise ValueError(f"expected one of {get_args(Combining)}, got {kind!r}")


class Bridged(nn.Module):
    """Learnt queries that climb beside the encoders: each block looks at itself, then across a bridge at one
    layer of every encoder (bridges from several layers as Xu et al. 2023, BridgeTower, eq. 6 to 8; here into
    one fused stream, and by cross-attention rather than by addition)."""

    def __init__(self, config: BlockConfig, sources: tuple[int, ...], depth: int, queries: int) -> None:
        super().__init__()
        across = BlockConfig(**{**vars(config), "context_width": config.width})
        self.query_nd = nn.Parameter(torch.randn(queries, config.width) * 0.02)
        self.blocks = nn.ModuleList(Block(across) for _ in range(depth))
        self.bridges = nn.ModuleList(
            nn.ModuleList(Adapter(source, config.width) for source in sources) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)

    def forward(
        self, layers: list[list[Tensor]], masks: list[Tensor], stand_in: StandIn | None = None
    ) -> Tensor:
        """Fused states ``[b, queries, width]``.

        Args:
            layers: for each block the states of every encoder, ``[b, t, d]`` each. masks: of every encoder.
            stand_in: what is looked at in place of modalities that are missing; else nothing is.
        """
        x_bqd = self.query_nd.expand(len(masks[0]), -1, -1)
        for block, bridges, states in zip(self.blocks, self.bridges, layers, strict=True):
            assert isinstance(bridges, nn.ModuleList)
            sides = [(bridge(x), m) for bridge, x, m in zip(bridges, states, masks, strict=True)]
            if stand_in is not None:
                sides = [stand_in.sequence(n, x, m) for n, (x, m) in enumerate(sides)]
            context_bsd, mask_bs = (torch.cat(parts, dim=1) for parts in zip(*sides, strict=True))
            x_bqd = block(x_bqd, None, context_bsd, mask_bs)
        out: Tensor = self.norm(x_bqd)
        return out
