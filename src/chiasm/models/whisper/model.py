"""Whisper (Radford et al. 2022, fig. 1): an encoder over log-mel frames, and a decoder that looks across."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.whisper.config import WhisperConfig
from chiasm.nn.attention import MultiHeadAttention
from chiasm.nn.blocks import BlockConfig, Encoder, FeedForward
from chiasm.nn.cache import KeyValueCache, causal_mask
from chiasm.nn.packed import PackedLinear, worth_packing
from chiasm.nn.stems import MelStem
from chiasm.preprocess.places import Place, stretch_places

EPSILON = 1e-5
POSITION_SECONDS = 0.02  # two log-mel frames


class Whisper(nn.Module):
    """Log-mel frames and the tokens so far → logits of the next token."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.stem = MelStem(c.mels, c.width)
        self.position = nn.Parameter(sinusoids(c.frames, c.width), requires_grad=False)
        block = BlockConfig(
            width=c.width,
            heads=c.encoder_heads,
            hidden=c.encoder_hidden,
            activation=c.activation,
            epsilon=EPSILON,
        )
        self.encoder = Encoder(block, c.encoder_depth)
        self.decoder = TextDecoder(c)

    def encode(self, log_mel_bfm: Tensor) -> Tensor:
        """States ``[b, frames, width]`` of one window of log-mel frames each, ``[b, 2 frames, mels]``."""
        if log_mel_bfm.shape[1:] != (self.config.window, self.config.mels):
            raise ValueError(
                f"expected {self.config.window} frames of {self.config.mels} bands, "
                f"got {list(log_mel_bfm.shape[1:])}"
            )
        states: Tensor = self.encoder(self.stem(log_mel_bfm) + self.position)
        return states

    def places(self) -> list[Place]:
        """What the encoder's positions are: stretches of two frames."""
        return stretch_places(self.config.frames, POSITION_SECONDS * self.config.frames)

    def forward(self, log_mel_bfm: Tensor, ids_bt: Tensor, mask_bt: Tensor | None = None) -> Tensor:
        """Logits ``[b, t, vocabulary]``; ``mask`` is True at real tokens, padding belongs on the left."""
        logits: Tensor = self.decoder(ids_bt, self.encode(log_mel_bfm), mask_bt)
        return logits


class TextDecoder(nn.Module):
    """Token and position embeddings, blocks that look back and across, tied output."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.token = nn.Embedding(c.vocabulary, c.width)
        self.position = nn.Embedding(c.positions, c.width)
        self.blocks = nn.ModuleList(DecoderBlock(c) for _ in range(c.decoder_depth))
        self.norm = nn.LayerNorm(c.width, eps=EPSILON)
        self.output: nn.Module | None = None  # packed: weights of its own

    def pack(self) -> None:
        """Pack the output layer."""
        output = nn.Linear(self.config.width, self.config.vocabulary, bias=False, device="meta")
        output.weight = self.token.weight
        if self.output is None and worth_packing(output):
            self.output = PackedLinear(output.weight, None)

    def new_cache(self, positions: int | None = None) -> list[KeyValueCache]:
        """An empty cache for every layer's tokens, then one for every layer's states of the encoder."""
        c = self.config
        return [
            KeyValueCache(room)
            for room in (positions or c.positions, c.frames)
            for _ in range(c.decoder_depth)
        ]

    def forward(
        self,
        ids_bt: Tensor,
        states_bfd: Tensor,
        mask_bs: Tensor | None = None,
        cache: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:
        """Logits ``[b, t, vocabulary]``.

        Args:
            ids_bt: all tokens, or with a cache those behind it.
            states_bfd: of :meth:`Whisper.encode`.
            mask_bs: True at real tokens among all so far; padding belongs on the left.
            cache: of :meth:`new_cache`; filled on the way.
        """
        t = ids_bt.shape[1]
        before = 0 if cache is None else cache[0].length
        if before + t > self.config.positions:
            raise ValueError(f"expected at most {self.config.positions} tokens, got {before + t}")
        mask = causal_mask(t, before + t, ids_bt.device)[None, None]
        positions_bt = torch.arange(before, before + t, device=ids_bt.device)[None]
        if mask_bs is not None:
            mask = mask & mask_bs[:, None, None, :]
            positions_bt = (mask_bs.long().cumsum(dim=1) - 1).clamp(min=0)[:, before:]
        x_btd = self.token(ids_bt) + self.position(positions_bt)
        depth = len(self.blocks)
        for n, block in enumerate(self.blocks):
            own, across = (None, None) if cache is None else (cache[n], cache[depth + n])
            x_btd = block(x_btd, states_bfd, mask, own, across)
        x_btd = self.norm(x_btd)
        if self.output is None:
            return F.linear(x_btd, self.token.weight)
        logits: Tensor = self.output(x_btd)
        return logits


class DecoderBlock(nn.Module):
    """Self-attention, attention across to the encoder, feed-forward: each behind a norm, with a residual."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        c = config
        self.attention_norm = nn.LayerNorm(c.width, eps=EPSILON)
        self.attention = MultiHeadAttention(c.width, c.decoder_heads)
        self.cross_norm = nn.LayerNorm(c.width, eps=EPSILON)
        self.cross = MultiHeadAttention(c.width, c.decoder_heads)
        self.feed_forward_norm = nn.LayerNorm(c.width, eps=EPSILON)
        self.feed_forward = FeedForward(c.width, c.decoder_hidden, c.activation)

    def forward(
        self,
        x_btd: Tensor,
        states_bfd: Tensor,
        mask: Tensor,
        own: KeyValueCache | None,
        across: KeyValueCache | None,
    ) -> Tensor:
        """``own`` caches the tokens' keys and values, ``across`` those of the states."""
        x_btd = x_btd + self.attention(self.attention_norm(x_btd), mask=mask, cache=own)
        if across is not None and across.length:
            states_bfd = states_bfd[:, :0]  # they are in the cache: none is added
        x_btd = x_btd + self.cross(self.cross_norm(x_btd), states_bfd, cache=across)
        out: Tensor = x_btd + self.feed_forward(self.feed_forward_norm(x_btd))
        return out


def sinusoids(length: int, width: int) -> Tensor:
    """Fixed positions ``[length, width]``: sines, then cosines. Unlike those of :mod:`chiasm.nn.positions`
    the slowest has a wavelength of exactly 2 pi x 10,000."""
    with torch.device("cpu"):  # wherever the rest is made: some functions do not go by the device around them
        rates = torch.exp(-math.log(10_000.0) * torch.linspace(0, 1, width // 2))
        angles = torch.arange(length)[:, None] * rates[None]
        return torch.cat([angles.sin(), angles.cos()], dim=1)
