"""One contract for every vector index: the exact one, and the approximate one before and after it grew."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chiasm.errors import InvalidInput
from chiasm.stores import ExactIndex, Match, UsearchIndex, VectorIndex, graph

DIMENSIONS = 16
FACTORIES: dict[str, Callable[[], VectorIndex]] = {
    "exact": lambda: ExactIndex(DIMENSIONS),
    "usearch-small": lambda: UsearchIndex(DIMENSIONS),
    "usearch-grown": lambda: UsearchIndex(DIMENSIONS, exact_up_to=32),
}


@pytest.fixture(params=FACTORIES)
def factory(request: pytest.FixtureRequest) -> Callable[[], VectorIndex]:
    return FACTORIES[request.param]


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def keys_of(*keys: int) -> np.ndarray:
    return np.array(keys, np.uint64)


def filled(factory: Callable[[], VectorIndex], count: int = 300) -> tuple[VectorIndex, np.ndarray]:
    index, rows = factory(), unit_rows(count)
    for start in range(0, count, 50):
        index.add(np.arange(start, start + 50, dtype=np.uint64) + 1, rows[start : start + 50])
    return index, rows


def test_the_nearest_come_first_with_their_cosines(factory: Callable[[], VectorIndex]) -> None:
    index, rows = filled(factory)
    match = index.search(rows[7], 5)
    cosines = rows @ rows[7]
    expected = np.argsort(-cosines)[:5]
    assert match.keys.tolist() == (expected + 1).tolist()
    np.testing.assert_allclose(match.cosines, cosines[expected], atol=3e-3)
    assert len(index) == 300
    assert index.keys().tolist() == list(range(1, 301))


def test_what_was_removed_is_not_found_and_unknown_keys_do_not_matter(
    factory: Callable[[], VectorIndex],
) -> None:
    index, rows = filled(factory)
    index.remove(keys_of(8, 9, 5000))
    assert len(index) == 298
    assert not {8, 9} & set(index.search(rows[7], 298).keys.tolist())
    index.add(keys_of(301), rows[7:8])
    assert index.search(rows[7], 1).keys.tolist() == [301]


@pytest.mark.parametrize("allowed_count", [0, 3, 20, 100, 200])
def test_only_allowed_ones_are_found_however_many_there_are(
    factory: Callable[[], VectorIndex], allowed_count: int
) -> None:
    index, rows = filled(factory)
    farthest_first = np.argsort(rows @ rows[0])
    allowed = np.sort(farthest_first[:allowed_count] + 1).astype(np.uint64)
    match = index.search(rows[0], 10, allowed)
    best = farthest_first[:allowed_count][::-1][:10] + 1
    assert match.keys.tolist() == best.tolist()


def test_an_empty_index_finds_nothing(factory: Callable[[], VectorIndex]) -> None:
    index = factory()
    assert len(index.search(unit_rows(1)[0], 5).keys) == 0
    index, rows = filled(factory)
    index.remove(index.keys())
    assert len(index) == 0
    assert len(index.search(rows[0], 5).keys) == 0


def test_vectors_of_another_shape_are_refused(factory: Callable[[], VectorIndex]) -> None:
    index, _ = filled(factory)
    with pytest.raises(InvalidInput):
        index.add(keys_of(900), np.ones((1, DIMENSIONS + 1), np.float32))
    with pytest.raises(InvalidInput):
        index.search(np.ones(DIMENSIONS - 1, np.float32), 3)


def test_what_was_saved_comes_back_with_its_sequence_and_can_go_on(
    factory: Callable[[], VectorIndex], tmp_path: Path
) -> None:
    index, rows = filled(factory)
    index.remove(keys_of(3))
    index.save(tmp_path / "x" / "text.index", 41)
    again = factory()
    assert again.load(tmp_path / "x" / "text.index") == 41
    assert again.keys().tolist() == index.keys().tolist()
    assert again.search(rows[7], 5).keys.tolist() == index.search(rows[7], 5).keys.tolist()
    again.add(keys_of(999), rows[2:3])
    assert again.search(rows[2], 1).keys.tolist() == [999]


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "foreign"])
def test_a_damaged_file_is_noticed_and_leaves_the_index_empty(
    factory: Callable[[], VectorIndex], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "text.index"
    filled(factory)[0].save(path, 1)
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "foreign": b"hello" * 99}[damage])
    index = factory()
    assert index.load(path) is None
    assert len(index) == 0
    index.add(keys_of(1), unit_rows(1))
    assert len(index) == 1


def test_a_file_of_other_dimensions_is_not_used(tmp_path: Path) -> None:
    for name, factory in FACTORIES.items():
        filled(factory)[0].save(tmp_path / name, 1)
    assert ExactIndex(DIMENSIONS + 1).load(tmp_path / "exact") is None
    assert UsearchIndex(DIMENSIONS + 1).load(tmp_path / "usearch-small") is None
    assert UsearchIndex(DIMENSIONS + 1).load(tmp_path / "usearch-grown") is None


def test_searching_while_another_thread_adds_and_removes(factory: Callable[[], VectorIndex]) -> None:
    index, rows = filled(factory)
    more = unit_rows(600, seed=1)
    wrong: list[list[int]] = []
    finished: list[bool] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            match = index.search(rows[0], 10)
            if match.keys[0] != 1 or (np.diff(match.cosines) > 0).any():
                wrong.append(match.keys.tolist())
        finished.append(True)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for start in range(0, 600, 60):
        index.add(np.arange(start, start + 60, dtype=np.uint64) + 1001, more[start : start + 60])
        index.remove(keys_of(1001 + start))
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert finished == [True, True]
    assert len(index) == 300 + 590


def test_the_graph_finds_what_an_exact_scan_finds() -> None:
    """recall@10 on 5,000 vectors in 50 clusters, as real media have them."""
    random = np.random.default_rng(5)
    centres = random.standard_normal((50, 64))
    rows = centres[random.integers(50, size=5000)] + 0.6 * random.standard_normal((5000, 64))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    keys = np.arange(5000, dtype=np.uint64)
    exact, grown = ExactIndex(64), UsearchIndex(64, exact_up_to=100)
    exact.add(keys, rows)
    grown.add(keys, rows)
    grown.settle()
    queries = rows[random.integers(5000, size=100)] + 0.05 * random.standard_normal((100, 64))
    found = [
        len(set(grown.search(q, 10).keys.tolist()) & set(exact.search(q, 10).keys.tolist())) / 10
        for q in queries.astype(np.float32)
    ]
    assert np.mean(found) >= 0.98


def test_the_graph_grows_behind_the_searches_and_may_be_saved_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "PAUSE", 0.01)
    rows = unit_rows(3000)
    index = UsearchIndex(DIMENSIONS, exact_up_to=100)
    index.add(np.arange(3000, dtype=np.uint64), rows)
    assert 0 <= len(index._graph) < 3000, "adding does not wait for it"
    assert index.search(rows[2999], 1).keys.tolist() == [2999]
    index.remove(keys_of(0, 2000, 2998))
    index.save(tmp_path / "x.index", 7)
    again = UsearchIndex(DIMENSIONS, exact_up_to=100)
    assert again.load(tmp_path / "x.index") == 7
    again.add(keys_of(5000), -rows[5:6])
    for grown, count in ((index, 2997), (again, 2998)):
        grown.settle()
        assert len(grown) == len(grown._graph) == count
        assert len(grown._fresh) == 0
        assert not {0, 2000, 2998} & set(grown.keys().tolist())
        assert grown.search(rows[2999], 1).keys.tolist() == [2999]
    assert again.search(-rows[5], 1).keys.tolist() == [5000]


@pytest.mark.parametrize("damage", ["lost", "cut", "newer"])
def test_a_graph_that_cannot_be_used_is_grown_again(tmp_path: Path, damage: str) -> None:
    index, rows = filled(FACTORIES["usearch-grown"])
    index.settle()
    index.save(tmp_path / "x.index", 7)
    saved = tmp_path / "x.graph"
    if damage == "lost":
        saved.unlink()
    elif damage == "cut":
        saved.write_bytes(saved.read_bytes()[:500])
    else:  # as when an older state of all else was put back
        index.save(tmp_path / "y.index", 8)
        (tmp_path / "y.graph").replace(saved)
    again = UsearchIndex(DIMENSIONS, exact_up_to=32)
    assert again.load(tmp_path / "x.index") == 7
    assert len(again) == 300
    assert len(again._graph) < 300
    again.settle()
    assert len(again._graph) == 300
    assert again.search(rows[7], 5).keys.tolist() == index.search(rows[7], 5).keys.tolist()


def test_keys_may_come_in_any_order_and_most_may_go(factory: Callable[[], VectorIndex]) -> None:
    index, rows = filled(factory)
    index.add(keys_of(900, 700), -rows[:2])
    index.add(keys_of(800), -rows[2:3])
    assert index.keys()[-4:].tolist() == [300, 700, 800, 900]
    for start in range(1, 251, 25):
        index.remove(np.arange(start, start + 25, dtype=np.uint64))
    assert index.keys().tolist() == [*range(251, 301), 700, 800, 900]
    assert [index.search(-rows[i], 1).keys.tolist() for i in range(3)] == [[900], [700], [800]]
    assert index.search(rows[260], 1).keys.tolist() == [261]


def test_what_is_in_both_parts_is_found_once() -> None:
    first = Match(keys=keys_of(4, 2), cosines=np.array([0.9, 0.5], np.float32))
    second = Match(keys=keys_of(2, 3), cosines=np.array([0.5, 0.7], np.float32))
    merged = graph._merged(first, second, 2)
    assert (merged.keys.tolist(), merged.cosines.tolist()) == ([4, 3], pytest.approx([0.9, 0.7]))
    assert graph._merged(first, second, 9).keys.tolist() == [4, 3, 2]
