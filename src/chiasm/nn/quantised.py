"""Symmetric int8 with a scale a row, for tables of which few rows are read at a time."""

import torch
from torch import Tensor, nn

_LARGEST = 127


def quantise(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Round to nearest: [rows, columns] → (int8 [rows, columns], scale fp16 [rows]).

    A stack of matrices is fine, too: rows are along the last dimension.
    """
    scale = (matrix.abs().amax(dim=-1) / _LARGEST).half()
    # A row under the least number of half precision is zero.
    step = scale.float().masked_fill(scale == 0, 1.0)
    steps = matrix / step[..., None]
    return steps.round().clamp(-_LARGEST, _LARGEST).to(torch.int8), scale


def dequantise(steps: Tensor, scale: Tensor) -> Tensor:
    """Undo :func:`quantise` up to half a step: float32 [rows, columns]."""
    return steps.float().mul_(scale.float()[..., None])


class QuantisedEmbedding(nn.Module):
    """An embedding table in a quarter of its memory; for inference only.

    Args:
        table: float [rows, columns]. One that was quantised before is held exactly.
    """

    steps: Tensor
    scale: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        steps, scale = quantise(table.detach())
        self.register_buffer("steps", steps)
        self.register_buffer("scale", scale)

    def forward(self, ids: Tensor) -> Tensor:
        """float32 ``[…, columns]`` of ids ``[…]``."""
        return dequantise(self.steps[ids], self.scale[ids])
