import math

import numpy as np
import pytest

from chiasm.errors import CheckpointError
from chiasm.library import Calibration, Pair, fit
from chiasm.library.relevance import kind_of

RANDOM = np.random.default_rng(3)


def unit(*shape: int) -> np.ndarray:
    rows = RANDOM.standard_normal(shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_probability_is_the_formula_in_float64() -> None:
    bank, queries, items = unit(200, 8), unit(2, 8), unit(5, 8)
    pair = Pair(cosine=3.0, z=0.7, bias=-1.0, cutoff=0.2)
    calibration = Calibration(pairs={"text>image": pair}, background={"image": bank.astype(np.float32)})
    cosines = queries @ items.T
    got = calibration.probability(cosines.astype(np.float32), queries.astype(np.float32), "text", "image")
    for q in range(2):
        usual = [float(np.dot(queries[q], b)) for b in bank]
        mean = sum(usual) / len(usual)
        std = math.sqrt(sum((u - mean) ** 2 for u in usual) / len(usual))
        for k in range(5):
            z = (cosines[q, k] - mean) / std
            logit = 3.0 * cosines[q, k] + 0.7 * z - 1.0
            assert got[q, k] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)


def test_the_more_are_searched_the_more_a_hit_has_to_show() -> None:
    calibration = Calibration(pairs={"text>text": Pair(cosine=5.0, cutoff=0.2, growth=0.5)})
    cutoffs = [calibration.cutoff("text", "text", n) for n in (0, 1, 1000, 10**6)]
    assert cutoffs[0] == cutoffs[1] < cutoffs[2] < cutoffs[3] < 1
    assert cutoffs[2] == pytest.approx(0.2)
    odds = [c / (1 - c) for c in cutoffs]
    assert odds[3] / odds[2] == pytest.approx(1000**0.5), "the logit is a line over ln n"


@pytest.mark.parametrize("cutoff", [0.0, 1.0])
def test_a_cut_off_of_nothing_or_all_does_not_depend_on_the_number(cutoff: float) -> None:
    calibration = Calibration(pairs={"default": Pair(cosine=1.0, cutoff=cutoff, growth=2.0)})
    assert [calibration.cutoff("text", "image", n) for n in (1, 10**6)] == [cutoff, cutoff]


def test_a_text_of_more_than_a_few_words_is_a_passage() -> None:
    assert kind_of("text", "red apple") == "text"
    assert kind_of("text", "红苹果") == "text"
    assert kind_of("text", None) == "text"
    assert kind_of("text", "The red apples are in the basket beside the door.") == "passage"
    assert kind_of("text", "红色的苹果在门边的篮子里。") == "passage"
    assert kind_of("image", "The red apples are in the basket beside the door.") == "image"


def test_a_passage_takes_the_curve_of_texts_where_it_has_none() -> None:
    pairs = {"text>passage": Pair(cosine=1.0), "image>text": Pair(cosine=2.0), "default": Pair(cosine=3.0)}
    calibration = Calibration(pairs=pairs)
    assert [calibration.pair(q, "passage").cosine for q in ("text", "image", "audio")] == [1.0, 2.0, 3.0]


def test_a_pair_that_is_missing_takes_the_default_and_a_model_without_any_is_neutral() -> None:
    default = Pair(cosine=1.0, cutoff=0.4)
    calibration = Calibration(pairs={"default": default, "text>text": Pair(cosine=2.0)})
    assert calibration.pair("mixed", "video") == default
    assert calibration.pair("text", "text").cosine == 2.0
    neutral = Calibration.from_mapping({}, 8)
    cosines = np.linspace(-1, 1, 21)[None]
    scores = neutral.probability(cosines, np.ones((1, 8)), "text", "image")[0]
    assert (np.diff(scores) > 0).all()
    assert 0 < scores.min() < scores.max() < 1
    assert neutral.pair("text", "image").cutoff == 0.0


def test_extreme_values_stay_probabilities() -> None:
    calibration = Calibration(
        pairs={"text>text": Pair(cosine=1e6, z=1e6)}, background={"text": np.ones((4, 2))}
    )
    scores = calibration.probability(np.array([[-1.0, 1.0]]), np.array([[1.0, 0.0]]), "text", "text")
    assert scores.tolist() == [[0.0, 1.0]]


def test_a_calibration_survives_the_checkpoint() -> None:
    bank = unit(16, 8).astype(np.float16)
    calibration = Calibration(pairs={"text>image": Pair(cosine=3.0, cutoff=0.3)}, background={"image": bank})
    again = Calibration.from_mapping(calibration.to_mapping(), 8)
    assert again.pairs == calibration.pairs
    np.testing.assert_array_equal(again.background["image"], bank.astype(np.float32))
    as_bytes = {"background": {"image": bank.tobytes()}}
    np.testing.assert_array_equal(Calibration.from_mapping(as_bytes, 8).background["image"], bank)


@pytest.mark.parametrize(
    "mapping",
    [
        {"pairs": {"text>text": {"slope": 1.0}}},
        {"pairs": [1]},
        {"background": {"image": b"123"}},
        {"background": {"image": [[1.0, 2.0]]}},
        {"background": {"image": "no base64!"}},
    ],
)
def test_a_broken_calibration_is_a_checkpoint_error(mapping: dict) -> None:
    with pytest.raises(CheckpointError):
        Calibration.from_mapping(mapping, 8)


def test_the_fit_finds_the_curve_that_made_the_data() -> None:
    n = 20_000
    cosines, z = RANDOM.uniform(-0.2, 0.8, n), RANDOM.normal(0, 2, n)
    logits = 6.0 * cosines + 0.8 * z - 2.0
    labels = (RANDOM.uniform(size=n) < 1 / (1 + np.exp(-logits))).astype(float)
    pair = fit(cosines, z, labels, ridge=1e-8)
    assert pair.cosine == pytest.approx(6.0, rel=0.08)
    assert pair.z == pytest.approx(0.8, rel=0.08)
    assert pair.bias == pytest.approx(-2.0, rel=0.08)


def test_the_fit_is_where_the_gradient_is_zero() -> None:
    n = 500
    cosines, z = RANDOM.uniform(0, 1, n), RANDOM.normal(size=n)
    labels = (cosines + 0.3 * z + RANDOM.normal(size=n) * 0.5 > 0.5).astype(float)
    pair = fit(cosines, z, labels, ridge=1e-9)
    logits = pair.cosine * cosines + pair.z * z + pair.bias
    rest = 1 / (1 + np.exp(-logits)) - labels
    np.testing.assert_allclose([rest.mean(), (rest * cosines).mean(), (rest * z).mean()], 0, atol=1e-5)


@pytest.mark.parametrize("labels", [[0.0, 0.0, 1.0, 1.0], [0.0] * 4, [1.0] * 4])
def test_separable_or_one_sided_data_has_a_finite_fit(labels: list[float]) -> None:
    pair = fit(np.array([0.0, 0.1, 0.8, 0.9]), np.zeros(4), np.array(labels))
    assert all(math.isfinite(value) for value in (pair.cosine, pair.z, pair.bias))
