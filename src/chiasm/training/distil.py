"""What the published classifier knows of photographs, without a photograph.

The fine maps of real drawings are mixed and then pushed, by a few gradient steps on the maps themselves,
until the classifier sees random ImageNet classes in them, while the statistics of every batch norm above pull
them towards those of the photographs it was trained on (as DeepInversion does to pixels; Yin et al. 2020,
eq. 4).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chiasm.models.efficientnet.model import EfficientNet
from chiasm.training.precision import mixed


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
    """Float16: fine maps [n, 112, 12, 12], pooled features [n, 1280], the teacher's verdicts [n, 1000]."""

    maps: NDArray[np.float16]
    pooled: NDArray[np.float16]
    probabilities: NDArray[np.float16]


def synthesise(trunk: EfficientNet, bases: NDArray[np.float16], config: DistilConfig) -> Synthetic:
    """Samples that start from ``bases`` [m, 112, 12, 12], fine maps of real pictures; where ``trunk`` is."""
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
    device = trunk.stem.weight.device
    maps = torch.from_numpy(_start(bases, rng, c.size)).to(device)
    target = _targets(rng, c.size).to(device)
    for step in range(c.steps):
        maps.requires_grad_(True)
        with _norm_inputs(trunk) as seen, mixed(device):
            pooled = trunk.upper(maps).pooled.float()
        fit = -(target * _classify(trunk, pooled).log_softmax(dim=-1)).sum(dim=-1).sum()
        apart = torch.stack([_apart(norm, x) for norm, x in seen]).mean() * c.size
        (gradient,) = torch.autograd.grad(fit + c.statistics * apart, maps)
        length = gradient.flatten(1).norm(dim=1).clamp(min=1e-9).view(-1, 1, 1, 1)
        size = maps.detach().flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        rate = c.rate * (1 - step / c.steps) / c.steps
        maps = (maps - rate * size * gradient / length).detach()
    with torch.no_grad():
        pooled = trunk.upper(maps).pooled
        probabilities = _classify(trunk, pooled).softmax(dim=-1)
    return maps.half().cpu().numpy(), pooled.half().cpu().numpy(), probabilities.half().cpu().numpy()


def _classify(trunk: EfficientNet, pooled: Tensor) -> Tensor:
    assert trunk.classifier is not None
    logits: Tensor = trunk.classifier(pooled)
    return logits


@contextmanager
def _norm_inputs(trunk: EfficientNet) -> Iterator[list[tuple[nn.BatchNorm2d, Tensor]]]:
    """What goes into each batch norm meanwhile."""
    seen: list[tuple[nn.BatchNorm2d, Tensor]] = []
    hooks = [
        norm.register_forward_pre_hook(lambda module, given: seen.append((module, given[0])))
        for norm in trunk.modules()
        if isinstance(norm, nn.BatchNorm2d)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _apart(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """How far the batch's statistics are from the norm's own, in units of these."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    deviation = (norm.running_var + norm.eps).sqrt()
    x = x.float()
    mean = (x.mean(dim=(0, 2, 3)) - norm.running_mean) / deviation
    spread = x.std(dim=(0, 2, 3)) / deviation
    return (mean.square() + (spread - 1).square()).mean()


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
