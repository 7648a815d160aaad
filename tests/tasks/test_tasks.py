"""Tasks: what comes out of a model, and what scores mean."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiasm.errors import ChiasmError
from chiasm.preprocess.prepared import PreparedItem
from chiasm.tasks import classify, embed


class Constant(nn.Module):
    """A model that says the same of everything."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        assert not torch.is_grad_enabled()
        return self.rows[: len(items)]


ITEMS = [PreparedItem(()), PreparedItem(())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_vectors_come_as_float32_numpy_whatever_the_model_computes_in(dtype: torch.dtype) -> None:
    vectors = embed(Constant(torch.tensor([[0.5, 0.25], [1.0, 0.0]], dtype=dtype)), ITEMS)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[0.5, 0.25], [1.0, 0.0]])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_an_error(bad: float) -> None:
    with pytest.raises(ChiasmError, match="finite vectors") as caught:
        embed(Constant(torch.tensor([[1.0, 0.0], [bad, 0.0]])), ITEMS)
    assert caught.value.code == "model_failure"


def unit(*shape: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal(shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_one_label_an_item_is_the_softmax_of_scaled_cosines() -> None:
    items, labels = unit(3, 6, seed=0), unit(4, 6, seed=1)
    scores = classify(items, labels, logit_scale=20.0)
    assert scores.dtype == np.float32
    for n in range(3):
        weights = [math.exp(20.0 * float(items[n] @ labels[m])) for m in range(4)]
        np.testing.assert_allclose(scores[n], np.array(weights) / sum(weights), rtol=1e-4)


def test_a_large_scale_does_not_overflow() -> None:
    labels = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(classify(labels, labels, logit_scale=1e4), np.eye(3), atol=1e-6)


def test_with_many_labels_each_is_asked_against_the_mean_of_the_others() -> None:
    items, labels = unit(3, 6, seed=0), unit(4, 6, seed=1)
    scores = classify(items, labels, logit_scale=10.0, multi_label=True)
    for n in range(3):
        cosines = [float(items[n] @ labels[m]) for m in range(4)]
        for m in range(4):
            others = (sum(cosines) - cosines[m]) / 3
            expected = 1 / (1 + math.exp(-10.0 * (cosines[m] - others)))
            assert scores[n, m] == pytest.approx(expected, abs=1e-5)


def test_several_labels_can_hold_at_once() -> None:
    labels = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float32)
    item = np.array([[0.95, 0.312, 0]], dtype=np.float32)
    scores = classify(item, labels, logit_scale=10.0, multi_label=True)[0]
    assert min(scores[:2]) > 0.9
    assert max(scores[2:]) < 0.1


def test_a_single_label_is_asked_by_itself() -> None:
    item = np.array([[1.0, 0.0]], dtype=np.float32)
    score = classify(item, item, logit_scale=2.0, multi_label=True)
    assert score[0, 0] == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert classify(item, item, logit_scale=2.0)[0, 0] == 1.0
