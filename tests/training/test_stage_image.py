"""The image stage on a head of a few thousand numbers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from chiasm.models.mini.image import ImageHead, ImageHeadConfig
from chiasm.training.distil import Synthetic
from chiasm.training.features import FeatureSet
from chiasm.training.stages.image import Check, ImageStage, ImageStageConfig, ImageTargets, recalls

HEAD = ImageHeadConfig(
    pooled=24,
    coarse=8,
    fine=4,
    positions=4,
    hidden=16,
    width=16,
    heads=2,
    feed_forward=16,
    depth=1,
    queries=2,
    dim=12,
)
CONFIG = ImageStageConfig(
    steps=30, single=12, clipart=4, coloured=6, scenes=6, synthetic=8, learning_rate=0.01, drop_fine=0.5
)


def unit(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    x = rng.standard_normal(shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def make_stage() -> ImageStage:
    """Forty views whose features are random, ten names, five classes of three kinds."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    features = FeatureSet(
        tokens=rng.standard_normal((40, 4, 12)).astype(np.float16),
        pooled=rng.standard_normal((40, 24)).astype(np.float16),
        views=np.arange(40),
    )
    names = unit(rng, 10, 12)
    targets = ImageTargets(
        names=names,
        chinese=unit(rng, 8, 12),
        keywords=unit(rng, 5, 12),
        keyword_of=rng.random((8, 5)) < 0.4,
        single=np.arange(20),
        single_name=np.arange(20) % 8,
        clipart=np.arange(20, 24),
        clipart_name=np.array([8, 9, 8, 9]),
        coloured=np.arange(24, 32),
        colour_texts=unit(rng, 8, 11, 12),
        scenes=np.arange(32, 40),
        captions=unit(rng, 8, 12),
        classes=unit(rng, 5, 12),
        chinese_classes=unit(rng, 5, 12),
        kinds=unit(rng, 3, 12),
        kind_of=np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 1]], dtype=bool),
    )
    synthetic = Synthetic(
        maps=rng.standard_normal((16, 8, 2, 2)).astype(np.float16),
        pooled=rng.standard_normal((16, 24)).astype(np.float16),
        probabilities=rng.dirichlet(np.full(5, 0.1), 16).astype(np.float16),
    )
    check = Check(np.arange(20), names, np.arange(20) % 8)
    return ImageStage(
        ImageHead(HEAD),
        features=features,
        targets=targets,
        synthetic=synthetic,
        checks={"seen": check},
        config=CONFIG,
    )


def steps(stage: ImageStage, count: int) -> None:
    optimiser = stage.optimiser()
    batch = stage.batch(0)
    for _ in range(count):
        optimiser.zero_grad()
        torch.stack(list(stage.loss(batch).values())).sum().backward()
        optimiser.step()


def test_every_loss_falls_on_a_batch_that_is_seen_often() -> None:
    stage = make_stage()
    batch = stage.batch(0)
    before = {name: value.item() for name, value in stage.loss(batch).items()}
    figures = stage.evaluate()
    steps(stage, 30)
    after = {name: value.item() for name, value in stage.loss(batch).items()}
    assert before.keys() == {
        *("names", "pooled", "chinese", "keywords", "colours", "scenes", "photographs", "pooled photographs")
    }
    assert [name for name in before if not after[name] < before[name]] == []
    assert stage.evaluate()["seen R@1"] > figures["seen R@1"]
    assert all(0 <= figure <= 1 for figure in stage.evaluate().values())


def test_every_parameter_learns_but_the_tokens_that_fusion_reads() -> None:
    stage = make_stage()
    torch.nn.init.normal_(stage.module.correction.weight)  # it starts at zero, which hides what is behind it
    torch.stack(list(stage.loss(stage.batch(0)).values())).sum().backward()
    idle = {
        name for name, p in stage.module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    }
    assert {name.split(".")[0] for name in idle} == {"token"}


def test_a_batch_is_decided_by_its_step() -> None:
    first, again, other = make_stage().batch(5), make_stage().batch(5), make_stage().batch(6)
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.single, again.single)
    assert not torch.equal(first.tokens, other.tokens)
    assert (first.tokens.shape, first.pooled.shape) == ((36, 4, 12), (36, 24))


def test_synthetic_maps_have_no_fine_part() -> None:
    assert (make_stage().batch(0).tokens[-8:, :, 8:] == 0).all()


def test_weights_decay_only_where_they_are_matrices() -> None:
    groups = make_stage().optimiser().param_groups
    assert [group["weight_decay"] for group in groups] == [CONFIG.weight_decay, 0.0]
    assert {p.ndim > 1 for p in groups[0]["params"]} == {True}
    assert {p.ndim > 1 for p in groups[1]["params"]} == {False}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (lambda: torch.eye(4), {"R@1": 1.0, "R@2": 1.0}),
        (lambda: torch.eye(4).roll(1, 1) + 0.5 * torch.eye(4), {"R@1": 0.0, "R@2": 1.0}),
        (lambda: torch.zeros(4, 4), {"R@1": 0.0, "R@2": 0.0}),  # all alike is not found
    ],
)
def test_recall_counts_ties_against(scores: Callable[[], torch.Tensor], expected: dict[str, float]) -> None:
    assert recalls(scores(), np.arange(4), ks=(1, 2)) == expected
