"""What UniT reads pictures and texts with (Hu & Singh 2021, sec. 3.1 and 3.2), and its blocks.

Positions are added to queries and keys in every layer, never to values (Carion et al. 2020, fig. 10).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.bert.model import Bert
from chiasm.models.unit.config import Seen, UnitConfig
from chiasm.models.unit.resnet import ResNet
from chiasm.nn.attention import MultiHeadAttention, weigh
from chiasm.nn.blocks import BlockConfig, FeedForward
from chiasm.nn.recorder import active_recorder
from chiasm.nn.relevance import Positions, Step, block_steps

Size = tuple[int, int]
"""Height and width."""


class Memory(NamedTuple):
    """States of one side or both, ``[b, s, width]``: the values, and the same with their positions: the keys.

    ``mask_bs`` is True where they are real; None: all are.
    """

    values_bsd: Tensor
    keys_bsd: Tensor
    mask_bs: Tensor | None


class PositionedAttention(MultiHeadAttention):
    """Attention whose keys and values are of two sequences: with and without positions."""

    def attend(self, queries_btd: Tensor, memory: Memory) -> Tensor:
        """``[b, t, width]`` → ``[b, t, width]``. A query that may look at nothing gets the output's bias."""
        q = self._split(self.query(queries_btd))
        k, v = self._split(self.key(memory.keys_bsd)), self._split(self.value(memory.values_bsd))
        mask = None if memory.mask_bs is None else memory.mask_bs[:, None, None, :]
        recorder = active_recorder()
        if recorder is None:
            o_bhtd = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            alpha = weigh(self.score(q, k), mask)
            recorder.add(self, alpha)
            o_bhtd = alpha @ v
        merged: Tensor = self.output(o_bhtd.transpose(1, 2).reshape(queries_btd.shape))
        return merged


class PositionedBlock(nn.Module):
    """Self-attention, then (in a decoder) attention across to a memory, then feed-forward; each with a
    residual and then a norm (Carion et al. 2020, fig. 10)."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        c = config
        self.attention = PositionedAttention(c.width, c.heads)
        self.attention_norm = nn.LayerNorm(c.width, eps=c.epsilon)
        self.cross: PositionedAttention | None = None
        if c.context_width is not None:
            self.cross = PositionedAttention(c.width, c.heads, context_width=c.context_width)
            self.cross_norm = nn.LayerNorm(c.width, eps=c.epsilon)
        self.feed_forward = FeedForward(c.width, c.hidden, c.activation)
        self.feed_forward_norm = nn.LayerNorm(c.width, eps=c.epsilon)

    def forward(
        self,
        x_btd: Tensor,
        positions_btd: Tensor,
        mask_bt: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """States and their positions ``[b, t, width]`` → states. ``mask_bt`` is True where they are real."""
        placed_btd = x_btd + positions_btd
        seen_btd = self.attention.attend(placed_btd, Memory(x_btd, placed_btd, mask_bt))
        x_btd = self.attention_norm(x_btd + seen_btd)
        if self.cross is not None:
            assert memory is not None
            x_btd = self.cross_norm(x_btd + self.cross.attend(x_btd + positions_btd, memory))
        out: Tensor = self.feed_forward_norm(x_btd + self.feed_forward(x_btd))
        return out

    def looks(self, own: Positions, memory: Positions | None = None) -> list[Step]:
        """Who looks at whom: the block's own sequence, and the memory."""
        return block_steps(self.attention, self.cross, own, memory)


class Cells(NamedTuple):
    """Which cells of a grid are of a picture: ``real_bp``; None: all. ``rows_b``, ``columns_b``: how many."""

    grid: Size
    rows_b: Tensor
    columns_b: Tensor
    real_bp: Tensor | None


def cells(picture: Size, grid: Size, sizes: Sequence[Size] | None, device: torch.device) -> Cells:
    """Of pictures in the upper left of ``picture`` pixels, seen through a grid.

    A cell is real if the pixel that is nearest to it is, as in the paper's code.
    """
    if sizes is None or all(size == picture for size in sizes):
        rows_b, columns_b = torch.tensor(grid, device=device).view(2, 1)
        return Cells(grid, rows_b, columns_b, None)
    real = []
    for axis in (0, 1):
        within = torch.arange(picture[axis]) < torch.tensor([size[axis] for size in sizes])[:, None]
        real.append(F.interpolate(within[:, None].float(), size=grid[axis])[:, 0].bool().to(device))
    real_bp = (real[0][:, :, None] & real[1][:, None, :]).flatten(1)
    return Cells(grid, real[0].sum(dim=1), real[1].sum(dim=1), real_bp)


def sine_positions(cells: Cells, width: int, kind: torch.dtype) -> Tensor:
    """Positions ``[b, p, width]`` of the cells of each grid, row by row; of one for all if all are real.

    Half of the width tells the row, half the column, each as a share of 2 pi of those that are real, in
    interleaved sines and cosines (Carion et al. 2020, appendix A.4; Vaswani et al. 2017, sec. 3.5).
    """
    half = width // 2
    precise = torch.promote_types(kind, torch.float32)
    device = cells.rows_b.device
    exponent_n = torch.arange(half, device=device, dtype=precise) // 2 * 2 / half
    parts = []
    for length, count_b in zip(cells.grid, (cells.rows_b, cells.columns_b), strict=True):
        number_t = torch.arange(1, length + 1, device=device, dtype=precise)
        share_bt = number_t / (count_b.clamp(min=1).to(precise)[:, None] + 1e-6)
        angle_btn = (share_bt * 2 * math.pi).unsqueeze(-1) / 10_000.0**exponent_n
        waves = torch.stack([angle_btn[..., 0::2].sin(), angle_btn[..., 1::2].cos()], dim=-1)
        parts.append(waves.flatten(-2))
    rows, columns = parts[0][:, :, None], parts[1][:, None]
    shape = (len(rows), *cells.grid, half)
    return torch.cat([rows.expand(shape), columns.expand(shape)], dim=-1).flatten(1, 2).to(kind)


class PictureEncoder(nn.Module):
    """ResNet, then a Transformer over the cells of its last stage and a token of the task."""

    def __init__(self, config: UnitConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.resnet = ResNet(c.resnet)
        self.project = nn.Conv2d(c.resnet.widths[-1], c.encoder_width, 1)
        self.blocks = nn.ModuleList(PositionedBlock(c.block(across=False)) for _ in range(c.encoder_depth))
        wider = c.width != c.encoder_width
        self.widen = nn.Linear(c.encoder_width, c.width) if wider else nn.Identity()
        self.widen_positions = nn.Linear(c.encoder_width, c.width) if wider else nn.Identity()

    def forward(
        self, pixels_bhwc: Tensor, sizes: Sequence[Size] | None = None, token_d: Tensor | None = None
    ) -> tuple[Memory, Cells]:
        """uint8 ``[b, h, w, 3]`` → states of the cells for the decoder, and which cells there are.

        Args:
            pixels_bhwc: to differentiate by them, the same values as numbers.
            sizes: height and width of each picture, which lies in the upper left; (0, 0): there is none.
            token_d: of the task, ``[encoder_width]``.

        Raises:
            ValueError: no pictures of bytes, or sizes that do not fit.
        """
        self._check(pixels_bhwc, sizes)
        x_bchw = self.project(self.resnet(self._normalised(pixels_bhwc, sizes)))
        height, width = pixels_bhwc.shape[1:3]
        grid = (x_bchw.shape[2], x_bchw.shape[3])
        own = cells((height, width), grid, sizes, x_bchw.device)
        x_bpd = x_bchw.flatten(2).transpose(1, 2)
        positions = sine_positions(own, self.config.encoder_width, x_bpd.dtype)
        states_bpd = self._encoded(x_bpd, positions.expand(x_bpd.shape), own.real_bp, token_d)
        if self.config.residual:
            states_bpd = states_bpd + x_bpd
        values_bpd = self.widen(states_bpd)
        return Memory(values_bpd, values_bpd + self.widen_positions(positions), own.real_bp), own

    def grid(self, height: int, width: int) -> Size:
        """Rows and columns of the cells of pictures of so many pixels."""
        stride = self.config.resnet.stride
        return -(-height // stride), -(-width // stride)

    def looks(self, own: Positions) -> list[list[Step]]:
        """Who looks at whom among the cells, behind a token of the task if there is one."""
        return [block.looks(own) for block in self.blocks if isinstance(block, PositionedBlock)]

    def _encoded(
        self, x_bpd: Tensor, positions_bpd: Tensor, mask_bp: Tensor | None, token_d: Tensor | None
    ) -> Tensor:
        """The Transformer; the token goes first, has no position, and is left out again."""
        extra = int(token_d is not None)
        if token_d is not None:
            x_bpd = torch.cat([token_d.expand(len(x_bpd), 1, -1), x_bpd], dim=1)
            positions_bpd = F.pad(positions_bpd, (0, 0, 1, 0))
            mask_bp = None if mask_bp is None else F.pad(mask_bp, (1, 0), value=True)
        for block in self.blocks:
            x_bpd = block(x_bpd, positions_bpd, mask_bp)
        return x_bpd[:, extra:]

    def _normalised(self, pixels_bhwc: Tensor, sizes: Sequence[Size] | None) -> Tensor:
        """By mean and deviation; 0 outside of the pictures."""
        kind = self.project.weight.dtype
        c = self.config.resnet
        mean, std = (pixels_bhwc.new_tensor(v, dtype=kind) for v in (c.mean, c.std))
        x_bhwc = (pixels_bhwc.to(kind) / 255 - mean) / std
        if sizes is not None:
            for picture, (height, width) in zip(x_bhwc, sizes, strict=True):
                picture[height:] = 0.0
                picture[:, width:] = 0.0
        return x_bhwc.permute(0, 3, 1, 2)

    @staticmethod
    def _check(pixels_bhwc: Tensor, sizes: Sequence[Size] | None) -> None:
        bytes_ = pixels_bhwc.dtype == torch.uint8 or pixels_bhwc.requires_grad
        if pixels_bhwc.dim() != 4 or pixels_bhwc.shape[3] != 3 or not bytes_:
            raise ValueError(
                f"expected pictures as uint8 [b, h, w, 3], got {pixels_bhwc.dtype} {list(pixels_bhwc.shape)}"
            )
        b, height, width, _ = pixels_bhwc.shape
        if not height or not width:
            raise ValueError(f"expected pictures of at least one pixel, got {height} x {width}")
        if sizes is None:
            return
        if len(sizes) != b:
            raise ValueError(f"expected a size for each of {b} pictures, got {len(sizes)}")
        for h, w in sizes:
            if not (0 < h <= height and 0 < w <= width) and (h, w) != (0, 0):
                raise ValueError(f"expected pictures of at most {height} x {width} pixels, got {h} x {w}")


class TextEncoder(nn.Module):
    """BERT that reads a token of the task first, and the maps of its states and positions to the decoder."""

    def __init__(self, config: UnitConfig) -> None:
        super().__init__()
        self.bert = Bert(config.text)
        self.project = nn.Linear(config.text.width, config.width)
        self.project_positions = nn.Linear(config.text.width, config.width)

    def forward(
        self,
        ids_bt: Tensor,
        mask_bt: Tensor | None = None,
        types_bt: Tensor | None = None,
        token_d: Tensor | None = None,
        seen: Seen = "all",
    ) -> Memory:
        """States of all tokens, or of the first, for the decoder.

        Args:
            mask_bt: True at real tokens; all are without it. types_bt: which of two sentences each is of.
            token_d: of the task, ``[text width]``; it is read but not among the states.

        Raises:
            ValueError: more tokens than BERT has positions, none, or a mask of another shape.
        """
        (b, t), bert = ids_bt.shape, self.bert
        if not 0 < t <= bert.config.positions:
            raise ValueError(f"expected 1 to {bert.config.positions} tokens, got {t}")
        if mask_bt is not None and (mask_bt.shape != ids_bt.shape or mask_bt.dtype != torch.bool):
            raise ValueError(
                f"expected a boolean mask {list(ids_bt.shape)}, got {mask_bt.dtype} {list(mask_bt.shape)}"
            )
        types_bt = torch.zeros_like(ids_bt) if types_bt is None else types_bt
        positions_td = bert.position.weight[:t]
        x_btd = bert.norm(bert.token(ids_bt) + positions_td + bert.token_type(types_bt))
        mask = mask_bt
        extra = int(token_d is not None)
        if token_d is not None:
            x_btd = torch.cat([token_d.expand(b, 1, -1), x_btd], dim=1)
            mask = None if mask is None else F.pad(mask, (1, 0), value=True)
        if seen == "first":
            first_b = torch.full((b,), extra, device=ids_bt.device)
            states_btd = bert.encoder.at(x_btd, first_b, mask, last_mask=mask).unsqueeze(1)
            positions_td = positions_td[:1]
            mask_bt = None if mask_bt is None else mask_bt[:, :1]
        else:
            states_btd = bert.encoder(x_btd, mask)[:, extra:]
        values_btd = self.project(states_btd)
        return Memory(values_btd, values_btd + self.project_positions(positions_td), mask_bt)
