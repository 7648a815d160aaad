"""The image stage: a head of a few thousand numbers over a trunk of the only shape there is."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from chiasm.models.efficientnet.config import EfficientNetConfig
from chiasm.models.efficientnet.model import LOWER
from chiasm.models.mini.image import ImageHeadConfig, ImageTower
from chiasm.training.distil import Synthetic
from chiasm.training.features import FeatureSet
from chiasm.training.stages.image import Check, ImageStage, ImageStageConfig, ImageTargets, recalls
from chiasm.training.stages.names import NameTargets
from tiny_model import settle_norms

HEAD = ImageHeadConfig(
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
    steps=30, single=12, titled=4, coloured=6, scenes=6, synthetic=8, learning_rate=0.001, drop_fine=0.5
)


def unit(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    x = rng.standard_normal(shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def make_stage() -> ImageStage:
    """Forty views whose features are random, ten names, five classes of three kinds."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    features = FeatureSet(
        fine=rng.standard_normal((40, 112, 4, 4)).astype(np.float16),
        pooled=np.abs(rng.standard_normal((40, 1280))).astype(np.float16),
        views=np.arange(40),
    )
    names = unit(rng, 10, 12)
    targets = ImageTargets(
        names=NameTargets(
            names=names,
            chinese=unit(rng, 8, 12),
            keywords=unit(rng, 5, 12),
            keyword_of=rng.random((8, 5)) < 0.4,
        ),
        single=np.arange(20),
        single_name=np.arange(20) % 8,
        titled=np.arange(20, 24),
        titled_name=np.array([8, 9, 8, 9]),
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
        maps=rng.standard_normal((16, 112, 4, 4)).astype(np.float16),
        pooled=np.abs(rng.standard_normal((16, 1280))).astype(np.float16),
        probabilities=rng.dirichlet(np.full(5, 0.1), 16).astype(np.float16),
    )
    check = Check(np.arange(20), names, np.arange(20) % 8)
    tower = ImageTower(EfficientNetConfig(classes=5), HEAD).train()
    settle_norms(tower.trunk, lambda: tower.trunk.upper(torch.from_numpy(features.fine).float()))
    return ImageStage(
        tower,
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
        *("names", "pooled", "chinese", "keywords", "colours", "scenes", "photographs", "pooled photographs"),
        *("kept", "features"),
    }
    taught = before.keys() - {"kept", "features"}  # these hold it back
    assert [name for name in taught if not after[name] < before[name]] == []
    assert stage.evaluate()["seen R@1"] > figures["seen R@1"]
    assert all(0 <= figure <= 1 for figure in stage.evaluate().values())


def test_every_parameter_learns_but_the_tokens_that_fusion_reads() -> None:
    stage = make_stage()
    torch.nn.init.normal_(stage.module.head.correction.weight)  # it starts at zero
    torch.stack(list(stage.loss(stage.batch(0)).values())).sum().backward()
    parameters = dict(stage.module.named_parameters())
    frozen = {name for name, p in parameters.items() if not p.requires_grad}
    assert {".".join(name.split(".")[:2]) for name in frozen} == {
        *("trunk.stem", "trunk.stem_norm", "trunk.stages", "trunk.classifier", "class_vectors")
    }
    assert {int(name.split(".")[2]) for name in frozen if "stages" in name} == set(range(LOWER))
    idle = {name for name in parameters.keys() - frozen if not _moves(parameters[name])}
    assert {".".join(name.split(".")[:2]) for name in idle} == {"head.token"}


def _moves(parameter: torch.nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)


def test_batch_norms_keep_the_statistics_they_were_published_with() -> None:
    stage = make_stage()
    before = {name: value.clone() for name, value in stage.module.named_buffers()}
    steps(stage, 1)
    assert all(torch.equal(value, before[name]) for name, value in stage.module.named_buffers())


def test_a_trunk_as_published_has_nothing_to_be_held_back_from() -> None:
    stage = make_stage()
    with torch.no_grad():
        pooled = stage.module.read_fine(torch.from_numpy(stage.features.fine).float())[1]
    same = stage._kept(pooled, pooled)
    assert all(abs(value.item()) < 1e-6 for value in same.values())
    other = torch.rand_like(pooled) * 6
    assert all(value.item() > 1e-3 for value in stage._kept(other, pooled).values())


def test_a_batch_is_decided_by_its_step() -> None:
    first, again, other = make_stage().batch(5), make_stage().batch(5), make_stage().batch(6)
    assert torch.equal(first.fine, again.fine)
    assert torch.equal(first.single, again.single)
    assert not torch.equal(first.fine, other.fine)
    assert (first.fine.shape, first.published.shape) == ((36, 112, 4, 4), (36, 1280))


def test_weights_decay_only_where_they_are_matrices() -> None:
    groups = make_stage().optimiser().param_groups
    decays = [(group["factor"], group["weight_decay"]) for group in groups]
    rates = (CONFIG.trunk_rate, 1.0)
    assert decays == [(rate, decay) for rate in rates for decay in (CONFIG.weight_decay, 0.0)]
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}


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
