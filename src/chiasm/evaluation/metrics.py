"""Retrieval and classification metrics, what chance gives, and how sure a figure is.

Ties count against the model: a candidate that is as near as the right one stands before it, so that a
model that gives everything the same vector gets nothing right.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
RESAMPLES = 1000
TIE = 1e-6
"""Cosines that differ by less are equal: float32 sums of equal vectors differ by that much."""


def ranks(similarity_qg: Floats, right_qg: Bools) -> NDArray[np.int64]:
    """The rank of the best right candidate of each query, 1 for the first.

    Args:
        similarity_qg: [q, g]; greater is nearer.
        right_qg: [q, g]; at least one candidate of a query is right.

    Returns:
        int64 [q]: one more than the wrong candidates that are at least as near.

    Raises:
        ValueError: shapes that differ, or a query without a right candidate.
    """
    if similarity_qg.shape != right_qg.shape:
        raise ValueError(f"expected {similarity_qg.shape} marks, got {right_qg.shape}")
    if not right_qg.any(axis=1).all():
        raise ValueError("expected a right candidate for every query, got a query without one")
    best = np.where(right_qg, similarity_qg, -np.inf).max(axis=1, keepdims=True)
    before = (similarity_qg >= best - TIE) & ~right_qg
    return np.asarray(1 + before.sum(axis=1), dtype=np.int64)


def recall_at(ranks_q: NDArray[np.int64], k: int) -> Bools:
    """Whether each query has a right candidate among its first ``k``; the mean is R@k (or top-k accuracy)."""
    return np.asarray(ranks_q <= k)


def one_hot(right_q: NDArray[np.integer], candidates: int) -> Bools:
    """Marks [q, g] for queries that have one right candidate each, given by its column."""
    marks = np.zeros((len(right_q), candidates), dtype=bool)
    marks[np.arange(len(right_q)), right_q] = True
    return marks


def chance_at(right_qg: Bools, k: int) -> float:
    """R@k of an order drawn at random: the mean over queries of 1 − C(g − r, k) / C(g, k)."""
    candidates = right_qg.shape[1]
    right = right_qg.sum(axis=1).astype(float)
    if k >= candidates:
        return 1.0
    missed = np.ones(len(right))
    for drawn in range(k):
        missed *= np.clip((candidates - right - drawn) / (candidates - drawn), 0.0, 1.0)
    return float(1.0 - missed.mean())


def interval(
    values: NDArray[np.generic], *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean (Efron & Tibshirani 1993, section 13.3).

    Args:
        values: [n], one of each query; bools are 0 and 1. Differences of pairs give a paired interval.

    Raises:
        ValueError: no values.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"expected values of shape [n] with n > 0, got {list(numbers.shape)}")
    rng = np.random.default_rng(seed)
    means = np.array(
        [numbers[rng.integers(len(numbers), size=len(numbers))].mean() for _ in range(resamples)]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
