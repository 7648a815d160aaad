"""Metrics against cases that are worked out by hand."""

import numpy as np
import pytest

from chiasm.evaluation.metrics import chance_at, interval, one_hot, ranks, recall_at


def test_the_rank_counts_the_wrong_candidates_that_are_nearer():
    similarity = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    assert ranks(similarity, one_hot(np.array([0, 2]), 3)).tolist() == [1, 3]


def test_ties_count_against_the_right_candidate():
    similarity = np.full((1, 4), 0.5)
    assert ranks(similarity, one_hot(np.array([0]), 4)).tolist() == [4]


def test_of_several_right_candidates_the_best_counts_and_the_others_are_not_in_its_way():
    similarity = np.array([[0.9, 0.8, 0.7, 0.6]])
    right = np.array([[False, True, True, False]])
    assert ranks(similarity, right).tolist() == [2]
    assert ranks(np.array([[0.8, 0.8]]), np.array([[True, True]])).tolist() == [1]


def test_rounding_of_equal_vectors_is_a_tie():
    similarity = np.array([[0.5 + 1e-8, 0.5]], np.float64)
    assert ranks(similarity, one_hot(np.array([0]), 2)).tolist() == [2]


def test_a_query_without_a_right_candidate_is_refused():
    with pytest.raises(ValueError, match="right candidate"):
        ranks(np.zeros((1, 2)), np.zeros((1, 2), bool))
    with pytest.raises(ValueError, match="marks"):
        ranks(np.zeros((1, 2)), np.zeros((1, 3), bool))


def test_recall_at_k():
    place = np.array([1, 2, 5, 6])
    assert [recall_at(place, k).mean() for k in (1, 5, 10)] == [0.25, 0.75, 1.0]


@pytest.mark.parametrize(
    ("right", "k", "expected"),
    [(1, 1, 0.1), (1, 5, 0.5), (2, 1, 0.2), (2, 2, 1 - 8 / 10 * 7 / 9), (1, 10, 1.0), (1, 20, 1.0)],
)
def test_chance_is_that_of_drawing_without_replacement(right: int, k: int, expected: float):
    marks = np.zeros((3, 10), bool)
    marks[:, :right] = True
    assert chance_at(marks, k) == pytest.approx(expected)


def test_the_interval_is_that_of_the_binomial_and_the_same_every_time():
    hits = np.arange(400) < 100
    low, high = interval(hits)
    # 1.96 standard errors of a share of a quarter among 400.
    assert (0.25 - low, high - 0.25) == (pytest.approx(0.0424, abs=0.008), pytest.approx(0.0424, abs=0.008))
    assert interval(hits) == (low, high)
    assert interval(np.ones(50)) == (1.0, 1.0)


def test_an_interval_needs_values():
    with pytest.raises(ValueError, match="n > 0"):
        interval(np.zeros(0))
