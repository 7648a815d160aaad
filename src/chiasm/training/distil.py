"""What the published classifier knows of photographs, without a photograph.

Feature maps of real drawings are mixed and then pushed, by a few gradient steps on the maps themselves,
until the classifier sees random ImageNet classes in them, while the statistics of the last batch norm pull
them towards those of the photographs it was trained on (as DeepInversion does to pixels; Yin et al. 2020,
eq. 4).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from chiasm.models.efficientnet.model import EfficientNet


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """``count`` samples in batches of ``size``; ``steps`` gradient steps of length ``rate`` each."""

    count: int = 5_888
    size: int = 256
    steps: int = 10
    rate: float = 1.6
    statistics: float = 1.0
    seed: int = 11


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Maps [n, 320, 6, 6], pooled features [n, 1280] and the teacher's probabilities [n, 1000], all f16."""

    maps: NDArray[np.float16]
    pooled: NDArray[np.float16]
    probabilities: NDArray[np.float16]


def synthesise(trunk: EfficientNet, bases: NDArray[np.float16], config: DistilConfig) -> Synthetic:
    """Samples that start from ``bases`` [m, 320, 6, 6], maps of real pictures."""
    trunk = trunk.eval().requires_grad_(False)
    rng = np.random.default_rng(config.seed)
    batches = [_batch(trunk, bases, rng, config) for _ in range(config.count // config.size)]
    maps, pooled, probabilities = (np.concatenate(column) for column in zip(*batches, strict=True))
    return Synthetic(maps, pooled, probabilities)


def save_synthetic(path: Path, samples: Synthetic) -> None:
    """Write samples for :func:`load_synthetic`."""
    np.savez(path, maps=samples.maps, pooled=samples.pooled, probabilities=samples.probabilities)


def load_synthetic(path: Path) -> Synthetic:
    """What :func:`save_synthetic` wrote."""
    with np.load(path) as stored:
        return Synthetic(stored["maps"], stored["pooled"], stored["probabilities"])


def _batch(
    trunk: EfficientNet, bases: NDArray[np.float16], rng: np.random.Generator, c: DistilConfig
) -> tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float16]]:
    maps = torch.from_numpy(_start(bases, rng, c.size))
    target = _targets(rng, c.size)
    for step in range(c.steps):
        maps.requires_grad_(True)
        normed, logits = _look(trunk, maps)
        fit = -(target * logits.log_softmax(dim=-1)).sum(dim=-1).sum()
        mean, variance = normed.mean(dim=(0, 2, 3)), normed.var(dim=(0, 2, 3))
        apart = (mean.square() + (variance.sqrt() - 1).square()).mean() * c.size
        (gradient,) = torch.autograd.grad(fit + c.statistics * apart, maps)
        length = gradient.flatten(1).norm(dim=1).clamp(min=1e-9).view(-1, 1, 1, 1)
        size = maps.detach().flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        rate = c.rate * (1 - step / c.steps) / c.steps
        maps = (maps - rate * size * gradient / length).detach()
    with torch.no_grad():
        pooled = trunk.pool(maps)
        assert trunk.classifier is not None
        probabilities = trunk.classifier(pooled).softmax(dim=-1)
    return (
        maps.numpy().astype(np.float16),
        pooled.numpy().astype(np.float16),
        probabilities.numpy().astype(np.float16),
    )


def _look(trunk: EfficientNet, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The last convolution's output in units of its batch norm's statistics, and the class logits."""
    raw = trunk.head(maps)
    norm = trunk.head_norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert trunk.classifier is not None
    normed = (raw - norm.running_mean.view(1, -1, 1, 1)) / (norm.running_var + norm.eps).sqrt().view(
        1, -1, 1, 1
    )
    activated = F.relu6(normed * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1))
    return normed, trunk.classifier(activated.mean(dim=(2, 3)))


def _start(bases: NDArray[np.float16], rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Two real maps mixed, one of them mirrored at random, with smooth noise on top."""
    first = bases[rng.integers(len(bases), size=size)].astype(np.float32)
    second = bases[rng.integers(len(bases), size=size)].astype(np.float32)[..., :: int(rng.choice([1, -1]))]
    share = rng.uniform(0.2, 0.8, (size, 1, 1, 1)).astype(np.float32)
    mixed = share * first + (1 - share) * second
    noise = rng.standard_normal(first.shape).astype(np.float32)
    noise = (noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3)) / 3**0.5
    return np.ascontiguousarray(mixed + 0.35 * mixed.std(axis=(0, 2, 3), keepdims=True) * noise)


def _targets(rng: np.random.Generator, size: int) -> Tensor:
    """A class with a share of 0.35 to 0.97, a second one with most of the rest, the remainder spread out."""
    shares = rng.uniform(0.35, 0.97, size)
    first, second = rng.integers(1000, size=size), rng.integers(1000, size=size)
    target = np.full((size, 1000), 1e-4, dtype=np.float32)
    target[np.arange(size), second] += (1 - shares) * 0.7
    target[np.arange(size), first] += shares
    return torch.from_numpy(target / target.sum(axis=1, keepdims=True))
