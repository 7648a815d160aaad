"""BERT (Devlin et al. 2019): token + position + type embeddings, then post-norm Transformer blocks."""

import torch
from torch import Tensor, nn

from chiasm.models.bert.config import BertConfig
from chiasm.nn.blocks import BlockConfig, Encoder
from chiasm.nn.relevance import Flow


class Bert(nn.Module):
    """The encoder, without the pooler."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.token = nn.Embedding(c.vocabulary, c.width)
        self.position = nn.Embedding(c.positions, c.width)
        self.token_type = nn.Embedding(c.token_types, c.width)
        self.norm = nn.LayerNorm(c.width, eps=c.epsilon)
        block = BlockConfig(
            width=c.width,
            heads=c.heads,
            hidden=c.hidden,
            norm="post",
            activation=c.activation,
            epsilon=c.epsilon,
        )
        self.encoder = Encoder(block, c.depth)

    def forward(self, ids_bt: Tensor, mask_bt: Tensor, types_bt: Tensor | None = None) -> Tensor:
        """States ``[b, t, width]`` of token ids ``[b, t]``; ``mask`` is True at real tokens."""
        return self.encode(self.token(ids_bt), mask_bt, types_bt)

    def flow(self, t: int) -> Flow:
        """Who looks at whom among so many tokens, of which the first stands for all."""
        return Flow(groups=self.encoder.looks(range(t)), readers=[0], count=t)

    def encode(self, embedded_btd: Tensor, mask_bt: Tensor, types_bt: Tensor | None = None) -> Tensor:
        """The same from token embeddings ``[b, t, width]``."""
        b, t, _ = embedded_btd.shape
        if t > self.config.positions:
            raise ValueError(f"expected at most {self.config.positions} tokens, got {t}")
        if types_bt is None:
            types_bt = torch.zeros((b, t), dtype=torch.long, device=embedded_btd.device)
        positions_t = torch.arange(t, device=embedded_btd.device)
        x_btd = embedded_btd + self.position(positions_t) + self.token_type(types_bt)
        states: Tensor = self.encoder(self.norm(x_btd), mask_bt)
        return states
