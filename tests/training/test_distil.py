"""Synthetic maps: pushed until the published classifier sees a class in them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chiasm.models.efficientnet.config import EfficientNetConfig
from chiasm.models.efficientnet.model import EfficientNet
from chiasm.training import distil
from chiasm.training.distil import DistilConfig, Synthetic, load_synthetic, save_synthetic, synthesise
from tiny_model import settle_norms

SIZE = 6
CLASSES = torch.arange(SIZE) * 100


@pytest.fixture(scope="module")
def bases() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((10, 112, 4, 4)).astype(np.float16)


@pytest.fixture(scope="module")
def trunk(bases: np.ndarray) -> EfficientNet:
    torch.manual_seed(0)
    trunk = EfficientNet(EfficientNetConfig(classes=1000))
    assert isinstance(trunk.classifier, nn.Linear)
    nn.init.normal_(trunk.classifier.weight, std=0.2)
    settle_norms(trunk, lambda: trunk.upper(torch.from_numpy(bases.astype(np.float32))))
    return trunk


def test_samples_come_nearer_to_their_class_than_they_started(
    trunk: EfficientNet, bases: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = torch.full((SIZE, 1000), 1e-4)
    wanted[torch.arange(SIZE), CLASSES] = 0.9
    monkeypatch.setattr(distil, "_targets", lambda rng, size: wanted)
    start, end = (synthesise(trunk, bases, DistilConfig(count=SIZE, size=SIZE, steps=n)) for n in (0, 10))
    own = (np.arange(SIZE), CLASSES.numpy())
    assert (end.probabilities[own] > 2 * start.probabilities[own] + 0.01).all()
    assert all(parameter.grad is None for parameter in trunk.parameters())


def test_samples_have_their_shapes_and_belong_together(trunk: EfficientNet, bases: np.ndarray) -> None:
    config = DistilConfig(count=9, size=4, steps=1)
    samples = synthesise(trunk, bases, config)
    assert samples.maps.shape == (8, 112, 4, 4), "whole batches only"
    assert (samples.pooled.shape, samples.probabilities.shape) == ((8, 1280), (8, 1000))
    assert {a.dtype for a in (samples.maps, samples.pooled, samples.probabilities)} == {np.dtype(np.float16)}
    np.testing.assert_allclose(samples.probabilities.astype(float).sum(axis=1), 1, atol=0.02)
    with torch.no_grad():
        pooled = trunk.upper(torch.from_numpy(samples.maps.astype(np.float32))).pooled
    np.testing.assert_allclose(pooled.numpy(), samples.pooled, atol=0.02)
    np.testing.assert_array_equal(synthesise(trunk, bases, config).maps, samples.maps)


def test_targets_are_distributions_with_one_leading_class() -> None:
    target = distil._targets(np.random.default_rng(0), 50).numpy()
    np.testing.assert_allclose(target.sum(axis=1), 1, atol=1e-5)
    assert target.min() > 0
    assert target.max(axis=1).min() > 0.3


def test_samples_survive_the_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = Synthetic(*(rng.random(shape).astype(np.float16) for shape in ((2, 3, 2, 2), (2, 5), (2, 7))))
    save_synthetic(tmp_path / "synthetic.npz", samples)
    back = load_synthetic(tmp_path / "synthetic.npz")
    for name in ("maps", "pooled", "probabilities"):
        np.testing.assert_array_equal(getattr(back, name), getattr(samples, name))
