"""Transformer blocks and encoder."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.nn.attention import MultiHeadAttention, ScoreKind
from chiasm.nn.cache import KeyValueCache
from chiasm.nn.recorder import active_recorder
from chiasm.nn.relevance import Positions, Step, block_steps

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu"]


def activate(x: Tensor, kind: Activation) -> Tensor:
    """The activation functions that published Transformers use."""
    if kind == "gelu":
        return F.gelu(x)
    if kind == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    if kind == "quick_gelu":
        return x * (1.702 * x).sigmoid()
    if kind == "relu":
        return F.relu(x)
    raise ValueError(f"expected one of {get_args(Activation)}, got {kind!r}")


class FeedForward(nn.Module):
    """Two linear maps with an activation between them, position by position."""

    def __init__(self, width: int, hidden: int, activation: Activation = "gelu") -> None:
        super().__init__()
        self.expand: nn.Module = nn.Linear(width, hidden)
        self.contract: nn.Module = nn.Linear(hidden, width)
        self.activation: Activation | None = activation  # None: ``expand`` does it, see ``nn.packed``

    def forward(self, x_btd: Tensor) -> Tensor:
        hidden = self.expand(x_btd)
        if self.activation is not None:
            hidden = activate(hidden, self.activation)
        out: Tensor = self.contract(hidden)
        return out


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """Shape of a Transformer block.

    ``norm`` says where layer normalisation stands: before each sub-layer (pre) or after the residual sum
    (post, as in BERT). ``context_width`` set means that the block also looks across to another sequence.
    """

    width: int
    heads: int
    hidden: int
    norm: Literal["pre", "post"] = "pre"
    activation: Activation = "gelu"
    epsilon: float = 1e-6
    context_width: int | None = None
    score: ScoreKind = "dot"


class Block(nn.Module):
    """Self-attention, then (if configured) cross-attention, then feed-forward, each with a residual."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        c = config
        self.pre = c.norm == "pre"
        self.attention = MultiHeadAttention(c.width, c.heads, score=c.score)
        self.attention_norm = nn.LayerNorm(c.width, eps=c.epsilon)
        self.cross: MultiHeadAttention | None = None
        if c.context_width is not None:
            self.cross = MultiHeadAttention(c.width, c.heads, context_width=c.context_width, score=c.score)
            self.cross_norm = nn.LayerNorm(c.width, eps=c.epsilon)
        self.feed_forward = FeedForward(c.width, c.hidden, c.activation)
        self.feed_forward_norm = nn.LayerNorm(c.width, eps=c.epsilon)

    def forward(
        self,
        x_btd: Tensor,
        mask: Tensor | None = None,
        context_bsd: Tensor | None = None,
        context_mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Masks are boolean ``[b, t]`` or broadcastable to ``[b, h, t, s]``; True = may be looked at."""
        if self.pre:
            x_btd = x_btd + self.attention(self.attention_norm(x_btd), mask=mask, cache=cache)
            if self.cross is not None:
                x_btd = x_btd + self.cross(self.cross_norm(x_btd), context_bsd, mask=context_mask)
            out: Tensor = x_btd + self.feed_forward(self.feed_forward_norm(x_btd))
            return out
        x_btd = self.attention_norm(x_btd + self.attention(x_btd, mask=mask, cache=cache))
        if self.cross is not None:
            x_btd = self.cross_norm(x_btd + self.cross(x_btd, context_bsd, mask=context_mask))
        out = self.feed_forward_norm(x_btd + self.feed_forward(x_btd))
        return out

    def looks(self, own: Positions, context: Positions | None = None) -> list[Step]:
        """Who looks at whom: the block's own sequence, and the other one."""
        return block_steps(self.attention, self.cross, own, context)

    def at(self, x_btd: Tensor, places_b: Tensor, mask: Tensor | None = None) -> Tensor:
        """What :meth:`forward` gives at one place of each sequence, ``[b, 1, width]``, without the others.

        ``mask`` is ``[b, t]``; not for blocks that look across.
        """
        rows = torch.arange(len(x_btd), device=x_btd.device)
        if self.pre:
            normed_btd = self.attention_norm(x_btd)
            looking_bqd = normed_btd[rows, places_b].unsqueeze(1)
            own_bqd = x_btd[rows, places_b].unsqueeze(1) + self.attention(looking_bqd, normed_btd, mask)
            out: Tensor = own_bqd + self.feed_forward(self.feed_forward_norm(own_bqd))
            return out
        own_bqd = x_btd[rows, places_b].unsqueeze(1)
        own_bqd = self.attention_norm(own_bqd + self.attention(own_bqd, x_btd, mask))
        out = self.feed_forward_norm(own_bqd + self.feed_forward(own_bqd))
        return out


class Encoder(nn.Module):
    """A stack of blocks over one sequence (looking across to a second one if so configured)."""

    def __init__(self, config: BlockConfig, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(depth))
        # Pre-norm residual streams are unnormalised at the end; post-norm ones already are.
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon) if config.norm == "pre" else nn.Identity()

    def forward(
        self,
        x_btd: Tensor,
        mask: Tensor | None = None,
        context_bsd: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        for block in self.blocks:
            x_btd = block(x_btd, mask, context_bsd, context_mask)
        out: Tensor = self.norm(x_btd)
        return out

    def looks(self, own: Positions, context: Positions | None = None) -> list[list[Step]]:
        """Who looks at whom, block by block."""
        return [block.looks(own, context) for block in self.blocks if isinstance(block, Block)]

    def at(
        self, x_btd: Tensor, places_b: Tensor, mask: Tensor | None = None, *, last_mask: Tensor | None = None
    ) -> Tensor:
        """What :meth:`forward` gives at one place of each sequence, ``[b, width]``: the last block need not
        compute the others.

        Args:
            mask: of all blocks but the last. last_mask: of that one, ``[b, t]``: what the place may look at.
        """
        rows = torch.arange(len(x_btd), device=x_btd.device)
        if active_recorder() is not None:  # whoever looks wants to see all of them
            states: Tensor = self(x_btd, mask)
            return states[rows, places_b]
        for block in self.blocks[:-1]:
            x_btd = block(x_btd, mask)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        out: Tensor = self.norm(last.at(x_btd, places_b, last_mask))
        return out.squeeze(1)
