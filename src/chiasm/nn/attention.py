"""Attention, in the symbols of the outline.

For a query q and keys k_i with values v_i:

    Attention(q, k_i) = q·k_i / sqrt(d_k)        the score
    alpha_i = softmax over i of the scores       (the outline leaves the softmax unsaid)
    o = sum_i alpha_i v_i

(Vaswani et al. 2017, eq. 1.) Two other scores share the interface: additive, w·tanh(q + k_i)
(Bahdanau et al. 2015, with the projections done by the layer), and cosine, tau · cos(q, k_i) (Liu et al.
2022, Swin V2, eq. 2).
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.nn.cache import KeyValueCache
from chiasm.nn.recorder import active_recorder

ScoreKind = Literal["dot", "additive", "cosine"]


class DotScore(nn.Module):
    """q·k / sqrt(d_k)."""

    def forward(self, q_bhtd: Tensor, k_bhsd: Tensor) -> Tensor:
        return q_bhtd @ k_bhsd.transpose(-2, -1) / math.sqrt(q_bhtd.shape[-1])


class AdditiveScore(nn.Module):
    """w·tanh(q + k), one w a head. Memory grows with t x s x d: meant for short sequences."""

    def __init__(self, heads: int, head_width: int) -> None:
        super().__init__()
        self.w_hd = nn.Parameter(torch.randn(heads, head_width) / math.sqrt(head_width))

    def forward(self, q_bhtd: Tensor, k_bhsd: Tensor) -> Tensor:
        hidden = torch.tanh(q_bhtd.unsqueeze(-2) + k_bhsd.unsqueeze(-3))
        return torch.einsum("bhtsd,hd->bhts", hidden, self.w_hd)


class CosineScore(nn.Module):
    """tau · cos(q, k) with one learnt temperature a head, at most 100."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.log_tau_h = nn.Parameter(torch.full((heads,), math.log(10.0)))

    def forward(self, q_bhtd: Tensor, k_bhsd: Tensor) -> Tensor:
        cosine = F.normalize(q_bhtd, dim=-1) @ F.normalize(k_bhsd, dim=-1).transpose(-2, -1)
        tau_h = self.log_tau_h.clamp(max=math.log(100.0)).exp()
        return cosine * tau_h[None, :, None, None]


def make_score(kind: ScoreKind, heads: int, head_width: int) -> nn.Module:
    """The score function named ``kind``."""
    if kind == "additive":
        return AdditiveScore(heads, head_width)
    if kind == "cosine":
        return CosineScore(heads)
    if kind == "dot":
        return DotScore()
    raise ValueError(f"expected one of {get_args(ScoreKind)}, got {kind!r}")


def weigh(scores_bhts: Tensor, mask: Tensor | None) -> Tensor:
    """alpha = softmax over the keys of the scores; keys where ``mask`` is False get exactly 0.

    ``mask`` is boolean and broadcasts to ``[b, h, t, s]``. A query that may look at nothing gets zeros.
    """
    if mask is None:
        return scores_bhts.softmax(dim=-1)
    alpha = scores_bhts.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    return alpha.masked_fill(~mask, 0.0)


class MultiHeadAttention(nn.Module):
    """Attention of ``heads`` heads, within one sequence or from one sequence to another.

    Args:
        width: width of the queries' sequence and of the output; divisible by ``heads``.
        heads: number of heads; d_k = width / heads.
        context_width: width of the sequence that is looked at, if it is another one.
        score: which score function compares queries and keys.
    """

    def __init__(
        self, width: int, heads: int, *, context_width: int | None = None, score: ScoreKind = "dot"
    ) -> None:
        super().__init__()
        if heads < 1:
            raise ValueError(f"expected at least one head, got {heads}")
        if width < heads or width % heads:
            raise ValueError(f"expected a positive width divisible by {heads} heads, got {width}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width or width, width)
        self.value = nn.Linear(context_width or width, width)
        self.output = nn.Linear(width, width)
        self.joined: nn.Module | None = None  # all three maps in one, see ``nn.packed``
        self.score_kind = score
        self.score = make_score(score, heads, width // heads)

    def forward(
        self,
        x_btd: Tensor,
        context_bsd: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """``x`` looks at ``context`` (at itself if there is none), and at what is in the cache.

        ``mask`` is boolean, True = may be looked at: ``[b, s]`` for padding, or broadcastable to
        ``[b, h, t, s]``. A query that may look at nothing gets the output layer's bias.
        """
        q, k, v = (self._split(part) for part in self._project(x_btd, context_bsd))
        if cache is not None:
            k, v = cache.append(k, v)
        if mask is not None and mask.dim() == 2:
            mask = mask[:, None, None, :]
        recorder = active_recorder()
        if recorder is None and self.score_kind == "dot":
            o_bhtd = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            alpha = weigh(self.score(q, k), mask)
            if recorder is not None:
                recorder.add(self, alpha)
            o_bhtd = alpha @ v
        b, _, t, _ = o_bhtd.shape
        merged: Tensor = self.output(o_bhtd.transpose(1, 2).reshape(b, t, -1))
        return merged

    def _project(self, x_btd: Tensor, context_bsd: Tensor | None) -> Sequence[Tensor]:
        if context_bsd is None and self.joined is not None:
            parts: Sequence[Tensor] = self.joined(x_btd).chunk(3, dim=-1)
            return parts
        source = x_btd if context_bsd is None else context_bsd
        return self.query(x_btd), self.key(source), self.value(source)

    def _split(self, x_btd: Tensor) -> Tensor:
        b, t, d = x_btd.shape
        return x_btd.view(b, t, self.heads, d // self.heads).transpose(1, 2)
