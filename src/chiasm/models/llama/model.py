"""Llama (Touvron et al. 2023): RMSNorm, rotary positions, grouped queries, SwiGLU."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.llama.config import LlamaConfig
from chiasm.nn.attention import weigh
from chiasm.nn.cache import KeyValueCache, causal_mask
from chiasm.nn.packed import PackedLinear, worth_packing
from chiasm.nn.recorder import active_recorder


class Llama(nn.Module):
    """Token ids → logits of the next token."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.token = nn.Embedding(c.vocabulary, c.width)
        self.blocks = nn.ModuleList(LlamaBlock(c) for _ in range(c.depth))
        self.norm = nn.RMSNorm(c.width, eps=c.epsilon)
        self.output: nn.Module | None = None if c.tied else nn.Linear(c.width, c.vocabulary, bias=False)

    def pack(self) -> None:
        """Pack the output layer; a tied one gets weights of its own."""
        output = self.output
        if output is None:
            output = nn.Linear(self.config.width, self.config.vocabulary, bias=False, device="meta")
            output.weight = self.token.weight
        if worth_packing(output):
            self.output = PackedLinear(output.weight, None)

    def new_cache(self, positions: int | None = None) -> list[KeyValueCache]:
        """An empty cache for every layer."""
        return [KeyValueCache(positions or self.config.positions) for _ in self.blocks]

    def forward(
        self, ids_bt: Tensor, mask_bs: Tensor | None = None, cache: Sequence[KeyValueCache] | None = None
    ) -> Tensor:
        """Logits ``[b, t, vocabulary]``.

        Args:
            ids_bt: all tokens, or with a cache those behind it.
            mask_bs: True at real tokens among all so far; padding belongs on the left.
            cache: of :meth:`new_cache`; filled on the way.
        """
        x_btd = self.states(ids_bt, mask_bs, cache)
        if self.output is None:
            return F.linear(x_btd, self.token.weight)
        logits: Tensor = self.output(x_btd)
        return logits

    def states(
        self, ids_bt: Tensor, mask_bs: Tensor | None = None, cache: Sequence[KeyValueCache] | None = None
    ) -> Tensor:
        """As :meth:`forward`, before the output layer: ``[b, t, width]``."""
        t = ids_bt.shape[1]
        before = 0 if cache is None else cache[0].length
        mask: Tensor | None
        if mask_bs is None:
            mask = (
                None if t == 1 else causal_mask(t, before + t, ids_bt.device)
            )  # one token sees all there are
            positions_bt = torch.arange(before, before + t, device=ids_bt.device)[None]
        else:
            mask = causal_mask(t, before + t, ids_bt.device) & mask_bs[:, None, None, :]
            positions_bt = (mask_bs.long().cumsum(dim=1) - 1).clamp(min=0)[:, before:]
        x_btd = self.token(ids_bt)
        cos, sin = rotation(positions_bt, self.config.head_width, self.config.base)
        turn = (cos.to(x_btd.dtype), sin.to(x_btd.dtype))
        for n, block in enumerate(self.blocks):
            x_btd = block(x_btd, turn, mask, None if cache is None else cache[n])
        out: Tensor = self.norm(x_btd)
        return out


class LlamaBlock(nn.Module):
    """Attention and feed-forward, each behind an RMSNorm and beside a residual."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        c = config
        self.attention_norm = nn.RMSNorm(c.width, eps=c.epsilon)
        self.attention = GroupedAttention(c)
        self.feed_forward_norm = nn.RMSNorm(c.width, eps=c.epsilon)
        self.gate: nn.Module = nn.Linear(c.width, c.hidden, bias=False)
        self.expand: nn.Module = nn.Linear(c.width, c.hidden, bias=False)
        self.contract: nn.Module = nn.Linear(c.hidden, c.width, bias=False)

    def pack(self) -> None:
        """Pack the maps of the feed-forward layer."""
        if worth_packing(self.gate):
            self.gate = PackedLinear(self.gate.weight, None, "silu")
        for name in ("expand", "contract"):
            linear = getattr(self, name)
            if worth_packing(linear):
                setattr(self, name, PackedLinear(linear.weight, None))

    def forward(
        self, x_btd: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: KeyValueCache | None
    ) -> Tensor:
        """``turn`` is of :func:`rotation`; ``mask`` broadcasts to ``[b, h, t, s]``."""
        x_btd = x_btd + self.attention(self.attention_norm(x_btd), turn, mask, cache)
        h_btd = self.feed_forward_norm(x_btd)
        gate_bth = self.gate(h_btd)
        if not isinstance(self.gate, PackedLinear):
            gate_bth = F.silu(gate_bth)
        out: Tensor = x_btd + self.contract(gate_bth * self.expand(h_btd))
        return out


class GroupedAttention(nn.Module):
    """Several heads of queries share one of keys and values (Ainslie et al. 2023)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.query = nn.Linear(c.width, c.heads * c.head_width, bias=c.bias)
        self.key = nn.Linear(c.width, c.key_heads * c.head_width, bias=c.bias)
        self.value = nn.Linear(c.width, c.key_heads * c.head_width, bias=c.bias)
        self.output: nn.Module = nn.Linear(c.heads * c.head_width, c.width, bias=False)
        self.joined: nn.Module | None = None  # all three maps in one, packed

    def pack(self) -> None:
        """Pack the maps, those to queries, keys and values as one."""
        if self.joined is None and worth_packing(self.query) and worth_packing(self.key):
            maps = (self.query, self.key, self.value)
            bias = torch.cat([linear.bias for linear in maps]) if self.config.bias else None
            self.joined = PackedLinear(torch.cat([linear.weight for linear in maps]), bias)
            if worth_packing(self.output):
                self.output = PackedLinear(self.output.weight, None)
            del self.query, self.key, self.value

    def forward(
        self, x_btd: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: KeyValueCache | None
    ) -> Tensor:
        """As :class:`LlamaBlock`."""
        c = self.config
        b, t, _ = x_btd.shape
        all_bhtd = self._project(x_btd).view(b, t, -1, c.head_width).transpose(1, 2)
        turned_bhtd = turned(all_bhtd[:, : c.heads + c.key_heads], turn)
        q_bhtd, k_bhsd = turned_bhtd[:, : c.heads], turned_bhtd[:, c.heads :]
        v_bhsd = all_bhtd[:, c.heads + c.key_heads :]
        if cache is not None:
            k_bhsd, v_bhsd = cache.append(k_bhsd, v_bhsd)
        recorder = active_recorder()
        if recorder is None:
            o_bhtd = F.scaled_dot_product_attention(
                q_bhtd, k_bhsd, v_bhsd, attn_mask=mask, enable_gqa=c.heads != c.key_heads
            )
        else:
            k_bhsd, v_bhsd = (
                part.repeat_interleave(c.heads // c.key_heads, dim=1) for part in (k_bhsd, v_bhsd)
            )
            alpha_bhts = weigh(q_bhtd @ k_bhsd.transpose(-2, -1) / c.head_width**0.5, mask)
            recorder.add(self, alpha_bhts)
            o_bhtd = alpha_bhts @ v_bhsd
        out: Tensor = self.output(o_bhtd.transpose(1, 2).reshape(b, t, -1))
        return out

    def _project(self, x_btd: Tensor) -> Tensor:
        """Queries, keys and values side by side."""
        if self.joined is None:
            return torch.cat([self.query(x_btd), self.key(x_btd), self.value(x_btd)], dim=-1)
        together: Tensor = self.joined(x_btd)
        return together


def rotation(positions_bt: Tensor, width: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines ``[b, 1, t, width]`` of the angles of positions (Su et al. 2021, eq. 15);
    a pair lies half a head apart."""
    # in single precision whatever the rest computes in: so the published ones were trained
    places = torch.arange(0, width, 2, device=positions_bt.device, dtype=torch.float32)
    angles_btd = positions_bt.float()[..., None] * (1.0 / base ** (places / width))
    both = torch.cat([angles_btd, angles_btd], dim=-1)[:, None]
    signs = torch.ones(width, device=positions_bt.device)
    signs[: width // 2] = -1
    return both.cos(), both.sin() * signs


def turned(x_bhtd: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Each pair of components turned by its angle."""
    cos, sin = turn
    return torch.addcmul(x_bhtd * cos, x_bhtd.roll(x_bhtd.shape[-1] // 2, -1), sin)
