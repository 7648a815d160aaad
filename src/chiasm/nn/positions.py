"""Position embeddings of grids and their interpolation to other grids."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def interpolate_grid(
    position_pd: Tensor,
    old: tuple[int, int],
    new: tuple[int, int],
    *,
    align_corners: bool = False,
    mode: Literal["bilinear", "bicubic"] = "bilinear",
) -> Tensor:
    """Learnt positions of an ``old`` (rows, columns) grid, resized to a ``new`` one.

    ``[old rows x old columns, d]`` → ``[new rows x new columns, d]``. Which corners are aligned is part of a
    published checkpoint (ViLT aligns them, timm does not): a wrong choice is silently wrong.
    """
    if position_pd.shape[0] != old[0] * old[1]:
        raise ValueError(f"expected {old[0] * old[1]} positions for a grid {old}, got {position_pd.shape[0]}")
    if old == new:
        return position_pd
    grid = position_pd.T.reshape(1, -1, *old)
    resized = F.interpolate(grid, size=new, mode=mode, align_corners=align_corners)
    return resized.reshape(position_pd.shape[1], -1).T


def sinusoids(length: int, width: int) -> Tensor:
    """Fixed positions ``[length, width]`` (Vaswani et al. 2017, sec. 3.5): sines, then cosines."""
    if width % 2:
        raise ValueError(f"expected an even width, got {width}")
    half = width // 2
    rates = torch.exp(-math.log(10_000.0) * torch.arange(half) / half)
    angles = torch.arange(length)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
