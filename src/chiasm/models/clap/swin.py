"""HTS-AT (Chen et al. 2022): log-mel frames laid out as a picture, and read by a Swin (Liu et al. 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.clap.config import SwinConfig
from chiasm.nn.attention import MultiHeadAttention
from chiasm.nn.blocks import FeedForward
from chiasm.nn.pooling import MeanPool
from chiasm.nn.recorder import active_recorder
from chiasm.preprocess.places import Place

APART = -100.0  # added to the score of places that are no neighbours: so the published ones were trained


class AudioTower(nn.Module):
    """Frames → one vector: the mean of the last stage's patches."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.mel_norm = nn.BatchNorm1d(c.mels)
        self.project = nn.Conv2d(1, c.width, kernel_size=c.patch, stride=c.patch)
        self.patch_norm = nn.LayerNorm(c.width)
        self.stages = nn.ModuleList(Stage(c, number) for number in range(len(c.depths)))
        self.norm = nn.LayerNorm(c.last_width)
        self.mean = MeanPool()

    def forward(self, log_mel_btm: Tensor) -> Tensor:
        """Vectors ``[b, last_width]`` of frames ``[b, t, mels]``."""
        normed_bmt = self.mel_norm(log_mel_btm.transpose(1, 2))
        x_bhwd = self.project(self.picture(normed_bmt)).permute(0, 2, 3, 1)
        x_bhwd = self.patch_norm(x_bhwd)
        for stage in self.stages:
            x_bhwd = stage(x_bhwd)
        vectors: Tensor = self.mean(self.norm(x_bhwd).flatten(1, 2))
        return vectors

    def places(self, stage: int, seconds: float, *, shifted: bool = False) -> list[list[Place]]:
        """What the positions of each window are, in one stage: patches with the seconds that they cover.

        Args:
            seconds: of all frames. shifted: of the odd blocks.
        """
        c = self.config
        grid = c.side // c.patch >> stage
        cell = c.side // grid
        shift = c.window // 2 if shifted and grid > c.window else 0
        number = torch.arange(grid * grid).view(1, grid, grid, 1)
        whole = -(-grid // c.window) * c.window
        number = F.pad(number, (0, 0, 0, whole - grid, 0, whole - grid), value=-1).roll(
            (-shift, -shift), (1, 2)
        )
        return [
            [self._place(n, grid, cell, seconds) for n in window]
            for window in windows(number, c.window).squeeze(-1).tolist()
        ]

    def cells(self, seconds: float) -> list[Place]:
        """What the patches of the last stage are, row by row, of a sound of so many seconds."""
        c = self.config
        grid = c.side // c.patch >> (len(c.depths) - 1)
        return [self._place(n, grid, c.side // grid, seconds) for n in range(grid * grid)]

    def _place(self, number: int, grid: int, cell: int, seconds: float) -> Place:
        if number < 0:  # what fills a grid up that windows do not divide
            return Place("patch", number)
        row, column = divmod(number, grid)
        first = row * cell // self.config.mels * self.config.side + column * cell
        each = seconds / self.config.frames
        return Place("patch", number, span=(first * each, (first + cell) * each))

    def picture(self, mel_bmt: Tensor) -> Tensor:
        """``[b, 1, side, side]``: the sound cut into stretches that lie above each other, low bands first.

        Raises:
            ValueError: more frames than there is room for.
        """
        c = self.config
        b, _, t = mel_bmt.shape
        if t > c.frames:
            raise ValueError(f"expected at most {c.frames} frames, got {t}")
        if t < c.frames:  # along time alone
            stretched = F.interpolate(
                mel_bmt.transpose(1, 2)[:, None], (c.frames, c.mels), mode="bicubic", align_corners=True
            )
            mel_bmt = stretched[:, 0].transpose(1, 2)
        return mel_bmt.reshape(b, c.mels, c.rows, c.side).transpose(1, 2).reshape(b, 1, c.side, c.side)


class Stage(nn.Module):
    """Blocks over one grid; then, but for the last stage, four neighbours become one patch."""

    def __init__(self, config: SwinConfig, number: int) -> None:
        super().__init__()
        c = config
        width = c.width << number
        self.blocks = nn.ModuleList(
            SwinBlock(c, width, c.heads[number], shift=c.window // 2 if n % 2 else 0)
            for n in range(c.depths[number])
        )
        self.grid = c.side // c.patch >> number
        self.merge = Merge(width) if number < len(c.depths) - 1 else None

    def forward(self, x_bhwd: Tensor) -> Tensor:
        """``[b, h, w, d]`` → the same, or ``[b, h / 2, w / 2, 2 d]``."""
        for block in self.blocks:
            x_bhwd = block(x_bhwd)
        return x_bhwd if self.merge is None else self.merge(x_bhwd)


class Merge(nn.Module):
    """Patches of two by two side by side, brought to twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x_bhwd: Tensor) -> Tensor:
        """``[b, h, w, d]`` → ``[b, ceil(h / 2), ceil(w / 2), 2 d]``."""
        _, h, w, _ = x_bhwd.shape
        x_bhwd = F.pad(x_bhwd, (0, 0, 0, w % 2, 0, h % 2))
        corners = [x_bhwd[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(corners, dim=-1)))
        return merged


class SwinBlock(nn.Module):
    """Attention within windows, then feed-forward, each after a norm and with a residual."""

    def __init__(self, config: SwinConfig, width: int, heads: int, *, shift: int) -> None:
        super().__init__()
        c = config
        self.window, self.shift = c.window, shift
        self.attention_norm = nn.LayerNorm(width, eps=c.epsilon)
        self.attention = WindowAttention(width, heads, c.window)
        self.feed_forward_norm = nn.LayerNorm(width, eps=c.epsilon)
        self.feed_forward = FeedForward(width, int(c.ratio * width), c.activation)

    def forward(self, x_bhwd: Tensor) -> Tensor:
        """``[b, h, w, d]`` → the same."""
        x_bhwd = x_bhwd + self._looked(self.attention_norm(x_bhwd))
        out: Tensor = x_bhwd + self.feed_forward(self.feed_forward_norm(x_bhwd))
        return out

    def _looked(self, x_bhwd: Tensor) -> Tensor:
        _, h, w, _ = x_bhwd.shape
        side = self.window
        shift = 0 if min(h, w) <= side else self.shift  # one window sees all of it
        x_bhwd = F.pad(x_bhwd, (0, 0, 0, -w % side, 0, -h % side))
        grid = x_bhwd.shape[1:3]
        if shift:
            x_bhwd = x_bhwd.roll((-shift, -shift), (1, 2))
        apart = self._apart(grid, shift, x_bhwd) if shift else None
        x_bhwd = together(self.attention(windows(x_bhwd, side), apart), side, grid)
        if shift:
            x_bhwd = x_bhwd.roll((shift, shift), (1, 2))
        return x_bhwd[:, :h, :w]

    def _apart(self, grid: torch.Size, shift: int, like: Tensor) -> Tensor:
        """What is added to scores ``[n, 1, t, t]``: a shifted window holds pieces from opposite edges."""
        pieces = []
        for length in grid:
            place = torch.arange(length, device=like.device)
            pieces.append((place >= length - self.window).long() + (place >= length - shift).long())
        piece_hw = 3 * pieces[0][:, None] + pieces[1]
        piece_nt = windows(piece_hw[None, ..., None], self.window).squeeze(-1)
        different = piece_nt[:, None, :, None] != piece_nt[:, None, None, :]
        return torch.zeros_like(different, dtype=like.dtype).masked_fill(different, APART)


class WindowAttention(MultiHeadAttention):
    """Attention within a window; each step from query to key has a learnt bias (Liu et al. 2021, eq. 4)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__(width, heads)
        self.table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.window = window

    def forward(self, x_ntd: Tensor, apart: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Windows ``[n, t, d]`` → the same; ``apart`` is added to the scores of so many windows in turn."""
        n, t, d = x_ntd.shape
        q, k, v = (self._split(part) for part in self._project(x_ntd, None))
        bias = (
            self.table[_steps(self.window, x_ntd.device).flatten()]
            .view(t, t, self.heads)
            .permute(2, 0, 1)[None]
        )
        if apart is not None:
            bias = (bias + apart).repeat(n // len(apart), 1, 1, 1)
        recorder = active_recorder()
        if recorder is None:
            o_nhtd = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            alpha_nhtt = (self.score(q, k) + bias).softmax(dim=-1)
            recorder.add(self, alpha_nhtt)
            o_nhtd = alpha_nhtt @ v
        merged: Tensor = self.output(o_nhtd.transpose(1, 2).reshape(n, t, d))
        return merged


def windows(x_bhwd: Tensor, side: int) -> Tensor:
    """``[b, h, w, d]`` → ``[b · h / side · w / side, side², d]``, row by row."""
    b, h, w, d = x_bhwd.shape
    apart = x_bhwd.view(b, h // side, side, w // side, side, d)
    return apart.transpose(2, 3).reshape(-1, side * side, d)


def together(x_ntd: Tensor, side: int, grid: torch.Size) -> Tensor:
    """:func:`windows` backwards."""
    h, w = grid
    d = x_ntd.shape[-1]
    return x_ntd.view(-1, h // side, w // side, side, side, d).transpose(2, 3).reshape(-1, h, w, d)


def _steps(window: int, device: torch.device) -> Tensor:
    """``[t, t]``: the row of the table for each pair of places in a window."""
    place = torch.arange(window, device=device)
    rows, columns = (one.flatten() for one in torch.meshgrid(place, place, indexing="ij"))
    down = rows[:, None] - rows + window - 1
    right = columns[:, None] - columns + window - 1
    return down * (2 * window - 1) + right
