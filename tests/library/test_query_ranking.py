"""Several queries with weights, what is not wanted, diversity, pages."""

import numpy as np
import pytest
from library_fakes import FakeEmbedder, put_item, vector_of

from chiasm.errors import InvalidInput
from chiasm.library import Calibration, Library, Pair
from chiasm.library.query import Query
from chiasm.library.ranking import score, spread

CURVE = {"pairs": {"text>text": {"cosine": 10.0, "bias": -5.0}}}


@pytest.fixture
def library(open_library, embedder: FakeEmbedder) -> Library:
    embedder.calibration = CURVE
    opened = open_library()
    opened.create_store("mine")
    return opened


def keep(library: Library, *texts: str) -> None:
    for text in texts:
        put_item(library, "mine", vector_of(text), item_id=text)


def found(library: Library, *texts: str, **wanted) -> list[str]:
    rows = np.stack([vector_of(text) for text in texts])
    return [hit.item_id for hit in library.search("mine", rows, "text", **wanted)]


def test_weights_say_how_much_each_query_counts(library):
    keep(library, "red apple", "red boat", "apple boat")
    assert found(library, "red", "boat", weights=[1, 1])[0] == "red boat"
    assert found(library, "red", "apple", "boat", weights=[0, 1, 1])[0] == "apple boat"
    assert found(library, "red", "apple", "boat", weights=[5, 5, 1])[0] == "red apple"


def test_a_weighted_score_is_the_mean_of_the_probabilities(library):
    keep(library, "red apple")
    rows = np.stack([vector_of("red"), vector_of("blue")])
    (hit,) = library.search("mine", rows, "text", weights=[3, 1], threshold=0)
    each = [library.search("mine", row, "text", threshold=0)[0].score for row in rows]
    assert hit.score == pytest.approx(0.75 * each[0] + 0.25 * each[1], abs=2e-3)


def test_what_is_not_wanted_goes_down(library):
    keep(library, "red apple", "green apple", "boat")
    assert set(found(library, "apple", limit=2)) == {"red apple", "green apple"}
    wanted = found(library, "apple", "green", negative=1, threshold=0)
    assert wanted.index("red apple") < wanted.index("green apple")
    scores = {
        hit.item_id: hit.score
        for hit in library.search(
            "mine", np.stack([vector_of("apple"), vector_of("green")]), "text", negative=1, threshold=0
        )
    }
    plain = {h.item_id: h.score for h in library.search("mine", vector_of("apple"), "text", threshold=0)}
    assert scores["green apple"] < 0.2 * plain["green apple"]
    assert scores["red apple"] > 0.5 * plain["red apple"]


def test_evidence_counts_from_what_is_usual_for_the_query():
    rng = np.random.default_rng(0)
    bank = rng.standard_normal((200, 8)).astype(np.float32) + 1
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    calibration = Calibration(pairs={"text>image": Pair(cosine=10.0)}, background={"image": bank})
    usual = float((bank @ bank[0]).mean())
    cosines = np.array([[usual - 0.1, usual, usual + 0.2]])
    evidence = calibration.evidence(cosines, bank[:1], "text", "image")[0]
    assert evidence == pytest.approx([0, 0, 2.0], abs=1e-5)


def test_each_row_may_be_of_its_own_modality():
    calibration = Calibration(
        pairs={"text>image": Pair(cosine=0.0, bias=-1.0), "image>image": Pair(cosine=0.0, bias=1.0)}
    )
    rows = np.eye(2, dtype=np.float32)
    query = Query(vectors=rows, modality=("text", "image"), threshold=0.5)
    scored = score(query, rows, np.array([[0.9], [0.1]], np.float32), calibration, kind="image", items=1)
    assert scored.scores == pytest.approx([1 / (1 + np.exp(-1.0))])
    assert scored.cosines == pytest.approx([0.1]), "of the row that passed"


def test_diversity_puts_copies_behind_others(library):
    keep(library, "red apple pie", "red apple pie one", "red apple boat")
    plain = found(library, "red apple pie", threshold=0)
    assert plain == ["red apple pie", "red apple pie one", "red apple boat"]
    spread_out = found(library, "red apple pie", threshold=0, diversity=0.7)
    assert spread_out == ["red apple pie", "red apple boat", "red apple pie one"]


def test_marginal_relevance_by_the_formula():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((12, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.sort(rng.random(12))[::-1]
    order = spread(list(scores), vectors, 0.4)
    assert sorted(order) == list(range(12))
    for place in range(12):
        rest = [i for i in range(12) if i not in order[:place]]
        worth = [
            0.6 * scores[i] - 0.4 * max([0.0, *(float(vectors[i] @ vectors[j]) for j in order[:place])])
            for i in rest
        ]
        assert order[place] == rest[int(np.argmax(worth))]
    assert spread(list(scores), vectors, 0.0) == list(range(12))


@pytest.mark.parametrize("options", [{}, {"diversity": 0.3}])
def test_pages_together_are_the_whole_list(library, options):
    keep(library, *(f"red thing{i}" for i in range(25)))
    whole = found(library, "red", limit=25, threshold=0, **options)
    pages = [
        found(library, "red", limit=10, offset=start, threshold=0, **options) for start in (0, 10, 20, 30)
    ]
    assert [item for page in pages for item in page] == whole
    assert len(whole) == 25


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"weights": [1.0]}, "weights"),
        ({"weights": [1.0, -1.0]}, "weights"),
        ({"weights": [0.0, 0.0]}, "weights"),
        ({"weights": [1.0, float("nan")]}, "weights"),
        ({"negative": 2}, "query"),
        ({"diversity": 1.5}, "diversity"),
        ({"offset": -1}, "page"),
        ({"offset": 1000}, "page"),
        ({"offset": 200, "diversity": 0.5}, "page"),
    ],
)
def test_what_makes_no_sense_is_named(library, options, param):
    keep(library, "x")
    with pytest.raises(InvalidInput) as caught:
        found(library, "a", "b", **options)
    assert caught.value.param == param
