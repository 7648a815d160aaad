"""GPT-2 (Radford et al. 2019): token and position embeddings, pre-norm blocks that look back, tied output."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.gpt.config import GptConfig
from chiasm.nn.blocks import BlockConfig, Encoder
from chiasm.nn.cache import KeyValueCache, causal_mask


class Gpt(nn.Module):
    """Token ids → logits of the next token."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.token = nn.Embedding(c.vocabulary, c.width)
        self.position = nn.Embedding(c.positions, c.width)
        block = BlockConfig(
            width=c.width, heads=c.heads, hidden=c.hidden, activation=c.activation, epsilon=c.epsilon
        )
        self.encoder = Encoder(block, c.depth)

    def new_cache(self, positions: int | None = None) -> list[KeyValueCache]:
        """An empty cache for every layer."""
        return [KeyValueCache(positions or self.config.positions) for _ in self.encoder.blocks]

    def forward(
        self, ids_bt: Tensor, mask_bs: Tensor | None = None, cache: Sequence[KeyValueCache] | None = None
    ) -> Tensor:
        """Logits ``[b, t, vocabulary]``; the arguments are :class:`~chiasm.models.llama.model.Llama`'s."""
        t = ids_bt.shape[1]
        before = 0 if cache is None else cache[0].length
        if before + t > self.config.positions:
            raise ValueError(f"expected at most {self.config.positions} tokens, got {before + t}")
        mask = causal_mask(t, before + t, ids_bt.device)[None, None]
        if mask_bs is None:
            positions_bt = torch.arange(before, before + t, device=ids_bt.device)[None]
        else:
            mask = mask & mask_bs[:, None, None, :]
            positions_bt = (mask_bs.long().cumsum(dim=1) - 1).clamp(min=0)[:, before:]
        x_btd = self.token(ids_bt) + self.position(positions_bt)
        for n, block in enumerate(self.encoder.blocks):
            x_btd = block(x_btd, mask, cache=None if cache is None else cache[n])
        return F.linear(self.encoder.norm(x_btd), self.token.weight)
