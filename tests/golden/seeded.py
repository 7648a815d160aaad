"""Weights and inputs that anybody can make again from a seed: what golden numbers were computed with.

``numpy.random.RandomState`` promises the same stream for ever, so the weights need not be stored.
"""

from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np
import torch
from torch import Tensor


def values(name: str, shape: Sequence[int]) -> Tensor:
    """Standard normal float32 values that depend on the name and the shape alone."""
    drawn = np.random.RandomState(crc32(name.encode())).standard_normal(tuple(shape))
    return torch.from_numpy(np.asarray(drawn, dtype=np.float32))


def state(shapes: Iterable[tuple[str, Sequence[int]]]) -> dict[str, Tensor]:
    """A state dict of these names and shapes, at scales that keep activations alive."""
    made: dict[str, Tensor] = {}
    for name, shape in shapes:
        drawn = values(name, shape)
        if name.endswith("num_batches_tracked"):
            made[name] = torch.tensor(0)
        elif name.endswith("running_var"):
            made[name] = 1 + 0.4 * drawn.abs()
        elif len(shape) > 1:
            made[name] = drawn * (1.5 / np.prod(shape[1:])) ** 0.5
        elif "norm" in name.lower() or "bn" in name:
            made[name] = 0.1 * drawn + (1.0 if name.endswith("weight") else 0.0)
        else:
            made[name] = 0.1 * drawn
    return made


def pixels(name: str, shape: Sequence[int]) -> Tensor:
    """What a trunk takes: (value - 127) / 128 of bytes."""
    bytes_ = np.random.RandomState(crc32(name.encode())).randint(0, 256, tuple(shape))
    return (torch.from_numpy(bytes_.astype(np.float32)) - 127.0) / 128.0
