"""Losses against sums written out in float64."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from chiasm.nn.losses import anchored_cross_entropy, info_nce, sigmoid_loss, soft_cross_entropy

Array = NDArray[np.float64]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def unit(rows: torch.Tensor) -> Array:
    array = rows.detach().numpy()
    return array / np.sqrt((array**2).sum(axis=1, keepdims=True))


def surprise(logits: Array, right: int) -> float:
    """-log softmax at ``right``."""
    return math.log(sum(math.exp(z) for z in logits)) - float(logits[right])


def test_info_nce_is_the_mean_of_both_directions() -> None:
    left, right = normal(4, 3), normal(4, 3, seed=1)
    similarity = 5.0 * unit(left) @ unit(right).T
    forward = sum(surprise(similarity[i], i) for i in range(4)) / 4
    backward = sum(surprise(similarity[:, i], i) for i in range(4)) / 4
    assert info_nce(left, right, 5.0).item() == pytest.approx((forward + backward) / 2, abs=1e-12)


def test_info_nce_knows_neither_length_nor_side() -> None:
    left, right = normal(4, 3), normal(4, 3, seed=1)
    assert info_nce(left, right, 3.0).item() == pytest.approx(info_nce(right * 9, left * 0.2, 3.0).item())


def test_info_nce_of_pairs_that_cannot_be_told_apart_is_the_log_of_the_batch() -> None:
    same = torch.ones(8, 3, dtype=torch.float64)
    assert info_nce(same, same, 20.0).item() == pytest.approx(math.log(8))


def test_sigmoid_loss_asks_of_every_pair_whether_it_is_one() -> None:
    left, right, scale, bias = normal(3, 4), normal(3, 4, seed=1), 4.0, -1.5
    similarity = unit(left) @ unit(right).T
    total = 0.0
    for i in range(3):
        for j in range(3):
            sign = 1 if i == j else -1
            total += math.log(1 + math.exp(-sign * (scale * similarity[i, j] + bias)))
    assert sigmoid_loss(left, right, scale, bias).item() == pytest.approx(total / 3, abs=1e-12)


def test_rows_that_mean_the_same_are_no_negatives_of_each_other() -> None:
    left, right = normal(4, 3), normal(4, 3, seed=1)
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    similarity = 5.0 * unit(left) @ unit(right).T
    both, total = 0.0, 0.0
    for i in range(4):
        others = [j for j in range(4) if j == i or not same[i, j]]
        both += surprise(similarity[i, others], others.index(i)) / 8
        both += surprise(similarity[others, i], others.index(i)) / 8
        for j in others:
            total += math.log(1 + math.exp((-1 if i == j else 1) * (similarity[i, j] - 2.0))) / 4
    assert info_nce(left, right, 5.0, same_bb=same).item() == pytest.approx(both, abs=1e-12)
    assert sigmoid_loss(left, right, 5.0, -2.0, same_bb=same).item() == pytest.approx(total, abs=1e-12)
    kept = torch.tensor([True, False, True, True])
    for loss in (partial(info_nce, scale=5.0), partial(sigmoid_loss, scale=5.0, bias=-2.0)):
        assert loss(left, right, mask_b=kept, same_bb=same).item() == pytest.approx(
            loss(left[kept], right[kept]).item(), abs=1e-12
        )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_anchored_cross_entropy_compares_with_all_anchors(smoothing: float) -> None:
    vectors, anchors = normal(3, 4), torch.from_numpy(unit(normal(6, 4, seed=1)))
    target = torch.tensor([5, 0, 2])
    logits = 7.0 * unit(vectors) @ anchors.numpy().T
    expected = 0.0
    for row, right in zip(logits, target.tolist(), strict=True):
        everywhere = sum(surprise(row, n) for n in range(6)) / 6
        expected += ((1 - smoothing) * surprise(row, right) + smoothing * everywhere) / 3
    got = anchored_cross_entropy(vectors, anchors, target, 7.0, smoothing)
    assert got.item() == pytest.approx(expected, abs=1e-12)


def test_soft_cross_entropy_weighs_by_the_teacher() -> None:
    logits, teacher = normal(3, 5), normal(3, 5, seed=1).softmax(dim=-1)
    expected = sum(float(teacher[b, n]) * surprise(logits[b].numpy(), n) for b in range(3) for n in range(5))
    assert soft_cross_entropy(logits, teacher).item() == pytest.approx(expected / 3, abs=1e-12)


def test_soft_cross_entropy_of_one_certain_answer_is_the_hard_one() -> None:
    logits = normal(3, 5)
    certain = torch.eye(5, dtype=torch.float64)[[1, 4, 0]]
    hard = sum(surprise(logits[b].numpy(), n) for b, n in enumerate((1, 4, 0))) / 3
    assert soft_cross_entropy(logits, certain).item() == pytest.approx(hard)


def test_gradients_are_those_of_the_functions() -> None:
    left, right = normal(3, 4).requires_grad_(), normal(3, 4, seed=1).requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    anchors = torch.from_numpy(unit(normal(5, 4, seed=2)))
    target = torch.tensor([4, 0, 1])
    teacher = normal(3, 4, seed=3).softmax(dim=-1)
    check = partial(torch.autograd.gradcheck, fast_mode=True)
    assert check(info_nce, (left, right, scale))
    assert check(sigmoid_loss, (left, right, scale, bias))
    assert check(lambda x: anchored_cross_entropy(x, anchors, target, 6.0, 0.1), (left,))
    assert check(lambda x: soft_cross_entropy(x, teacher), (left,))
