"""Fusion of a mixed item's parts into one vector, by Transformer layers over all their tokens.

The sum of the parts' unit vectors is late fusion, and a strong start: the query token begins there and
the Transformer's output layer begins at zero, so that training can only add what the sum does not know,
such as that "green" beside a red apple asks for a green one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from chiasm.modality import Modality
from chiasm.nn.blocks import BlockConfig, Encoder

ORDER = tuple(Modality)


class Encoded(NamedTuple):
    """What a tower says of one part: its vector [d] and its tokens [t, d]."""

    modality: Modality
    vector: Tensor
    tokens: Tensor


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """Shape of the fusion Transformer. ``parts`` is how many positions of parts are told apart."""

    width: int = 384
    heads: int = 6
    hidden: int = 768
    depth: int = 2
    parts: int = 8


class Fusion(nn.Module):
    """Any number of parts of any modalities → one vector."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.kind = nn.Parameter(torch.randn(len(ORDER), c.width) * 0.02)
        self.place = nn.Parameter(torch.randn(c.parts, c.width) * 0.02)
        self.summary = nn.Parameter(torch.randn(c.width) * 0.02)
        self.scale = nn.LayerNorm(c.width)
        self.encoder = Encoder(BlockConfig(width=c.width, heads=c.heads, hidden=c.hidden), c.depth)
        self.correction = nn.Linear(c.width, c.width)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, items: Sequence[Sequence[Encoded]]) -> Tensor:
        """Unit vectors ``[n, width]`` of n items of one or more parts each."""
        start_nd = torch.stack(
            [torch.stack([F.normalize(p.vector, dim=-1) for p in parts]).sum(dim=0) for parts in items]
        )
        start_nd = F.normalize(start_nd, dim=-1)
        sequences = [self._sequence(parts) for parts in items]
        lengths = torch.tensor([len(s) + 1 for s in sequences], device=start_nd.device)
        rest = pad_sequence(sequences, batch_first=True)
        query = self.scale(start_nd) + self.summary
        x_ntd = torch.cat([query.unsqueeze(1), rest], dim=1)
        mask = torch.arange(x_ntd.shape[1], device=x_ntd.device)[None] < lengths[:, None]
        states = self.encoder(x_ntd, mask)
        return F.normalize(start_nd + self.correction(states[:, 0]), dim=-1)

    def _sequence(self, parts: Sequence[Encoded]) -> Tensor:
        pieces = []
        for index, part in enumerate(parts):
            role = self.kind[ORDER.index(part.modality)] + self.place[min(index, self.config.parts - 1)]
            pieces.append(self.scale(torch.cat([part.vector.unsqueeze(0), part.tokens])) + role)
        return torch.cat(pieces)
