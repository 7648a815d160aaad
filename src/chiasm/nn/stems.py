"""Stems: how raw content becomes a sequence of vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchStem(nn.Module):
    """Non-overlapping patches, each mapped linearly (Dosovitskiy et al. 2021, eq. 1)."""

    def __init__(self, channels: int, patch: int, width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, patch, stride=patch, bias=bias)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """``[b, c, h, w]`` → ``[b, (h/patch)(w/patch), width]``, row by row."""
        patches: Tensor = self.project(x_bchw)
        return patches.flatten(2).transpose(1, 2)


class TubeletStem(nn.Module):
    """Boxes in space and time, each mapped linearly (Arnab et al. 2021, fig. 3).

    A box covers ``span`` frames and ``patch`` pixels; boxes overlap in time when ``stride`` < ``span``.
    """

    def __init__(self, channels: int, span: int, stride: int, patch: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv3d(channels, width, (span, patch, patch), stride=(stride, patch, patch))

    def forward(self, x_bcfhw: Tensor) -> Tensor:
        """``[b, c, f, h, w]`` → ``[b, t, p, width]``: t steps in time, p places row by row."""
        boxes: Tensor = self.project(x_bcfhw)
        return boxes.flatten(3).permute(0, 2, 3, 1)


class MelStem(nn.Module):
    """Log-mel frames → a shorter sequence by two convolutions (as in Radford et al. 2023, sec. 2.2)."""

    def __init__(self, mels: int, width: int, stride: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv1d(mels, width, 3, padding=1)
        self.second = nn.Conv1d(width, width, 3, stride=stride, padding=1)

    def forward(self, log_mel_bfm: Tensor) -> Tensor:
        """``[b, f, mels]`` → ``[b, ceil(f / stride), width]``."""
        x = F.gelu(self.first(log_mel_bfm.transpose(1, 2)))
        out: Tensor = F.gelu(self.second(x)).transpose(1, 2)
        return out


class TokenStem(nn.Module):
    """Token ids → embeddings plus learnt positions."""

    def __init__(self, vocabulary: int, positions: int, width: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(positions, width)

    def forward(self, ids_bt: Tensor) -> Tensor:
        """``[b, t]`` → ``[b, t, width]``; t at most the number of positions."""
        positions = torch.arange(ids_bt.shape[1], device=ids_bt.device)
        out: Tensor = self.token(ids_bt) + self.position(positions)
        return out
