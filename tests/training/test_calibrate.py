"""Probabilities of relevance mean what they say, on data whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from chiasm.library.relevance import Calibration
from chiasm.training.calibrate import FALSE_RETURNS, Labelled, calibrate

DIM, KINDS = 48, 60
CENTRES = np.random.default_rng(0).standard_normal((2 * KINDS, DIM))


def unit(x: NDArray[np.float64]) -> NDArray[np.float32]:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def drawn(seed: int, count: int, noise: float, *, first: int = 0) -> Labelled:
    """``count`` vectors around sixty Gaussian centres, from number ``first`` on."""
    rng = np.random.default_rng(seed)
    labels = first + rng.integers(KINDS, size=count)
    return Labelled(unit(CENTRES[labels] + noise * rng.standard_normal((count, DIM))), labels)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    rng = np.random.default_rng(9)
    background = {name: unit(rng.standard_normal((64, DIM))) for name in ("text", "image")}
    return calibrate(
        {"text": drawn(1, 160, 0.9)}, {"text": drawn(2, 400, 0.6), "image": drawn(3, 600, 1.2)}, background
    )


def chances(calibration: Calibration, query: Labelled, item: Labelled) -> NDArray[np.float64]:
    cosines = (query.vectors @ item.vectors.T).astype(np.float64)
    return calibration.probability(cosines, query.vectors, "text", "image")


def error_of(chance: NDArray[np.float64], relevant: NDArray[np.bool_]) -> float:
    """Expected calibration error (Naeini et al. 2015) of the hits that have some chance."""
    shown = chance > 0.1
    bins = np.digitize(chance[shown], [0.3, 0.5, 0.7, 0.9])
    apart = chance[shown] - relevant[shown]
    return float(sum(abs(apart[bins == number].sum()) for number in range(5)) / shown.sum())


def test_of_hits_with_a_chance_about_that_share_is_relevant(calibration: Calibration) -> None:
    query, item = drawn(11, 300, 0.9), drawn(12, 500, 1.2)
    chance = chances(calibration, query, item)
    relevant = query.labels[:, None] == item.labels[None]
    assert chance.mean() == pytest.approx(relevant.mean(), rel=0.15)
    assert error_of(chance, relevant) < 0.1
    assert error_of(chances(Calibration(), query, item), relevant) > 0.15, (
        "without a calibration it is not so"
    )
    assert chance[relevant].mean() > 10 * chance[~relevant].mean()


def test_queries_without_a_match_are_answered_as_seldom_as_wanted(calibration: Calibration) -> None:
    strangers = drawn(21, 600, 0.9, first=KINDS)
    for size in (40, 600, 6000):
        library = drawn(22, size, 1.2)
        cutoff = calibration.cutoff("text", "image", size)
        answered = (chances(calibration, strangers, library) >= cutoff).any(axis=1).mean()
        assert FALSE_RETURNS / 4 <= answered <= 3 * FALSE_RETURNS, size
    library = drawn(22, 600, 1.2)
    cutoff = calibration.cutoff("text", "image", 600)
    known = (chances(calibration, drawn(23, 300, 0.9), library) >= cutoff).any(axis=1).mean()
    assert known > 0.6, "but most of those that have a match are"


def test_every_pair_has_its_curve_and_there_is_one_for_the_rest(calibration: Calibration) -> None:
    assert calibration.pairs.keys() == {"text>text", "text>image", "default"}
    default, pairs = calibration.pairs["default"], [calibration.pairs[k] for k in ("text>text", "text>image")]
    assert default.cutoff == pytest.approx(np.mean([pair.cutoff for pair in pairs]))
    assert default.cosine == pytest.approx(np.mean([pair.cosine for pair in pairs]))


def test_what_has_nothing_in_common_is_not_fitted() -> None:
    made = calibrate(
        {"text": drawn(1, 40, 0.9)},
        {"text": drawn(2, 80, 0.6), "passage": drawn(3, 80, 0.6, first=KINDS)},
        {},
    )
    assert made.pairs.keys() == {"text>text", "default"}


def test_the_same_vector_says_nothing_about_relevance() -> None:
    """Queries that are in the library themselves must not teach that only an equal vector is relevant."""
    rng = np.random.default_rng(5)
    items = drawn(31, 300, 1.0)
    background = {"image": unit(rng.standard_normal((64, DIM)))}
    own = calibrate({"image": items}, {"image": items}, background).pairs["image>image"]
    others = calibrate({"image": drawn(32, 300, 1.0)}, {"image": items}, background).pairs["image>image"]
    assert (own.cosine, own.bias) == pytest.approx((others.cosine, others.bias), rel=0.25)


def test_calibrating_twice_gives_the_same() -> None:
    made = [calibrate({"text": drawn(1, 40, 0.9)}, {"text": drawn(2, 80, 0.6)}, {}).pairs for _ in range(2)]
    assert made[0] == made[1]


def test_what_is_nearly_the_same_thing_is_no_stranger() -> None:
    """A library that has two kinds of everything: the other kind must not push the cut-off up."""
    kinds = np.arange(2 * KINDS)
    names = unit(np.repeat(CENTRES[:KINDS], 2, axis=0))  # labels 2k and 2k + 1 are called alike
    noise = 0.1 * np.random.default_rng(41).standard_normal((2, *names.shape))
    query, item = (Labelled(unit(names + each), kinds) for each in noise)
    alone, told = (calibrate({"text": query}, {"text": item}, {}, given) for given in (None, names))

    def shown(made: Calibration) -> float:
        chance = made.probability(query.vectors @ item.vectors.T, query.vectors, "text", "text")
        near = kinds[:, None] == kinds[None] ^ 1
        return float((chance[near] >= made.cutoff("text", "text", len(kinds))).mean())

    assert shown(alone) < 0.2
    assert shown(told) > 0.8
