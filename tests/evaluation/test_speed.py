"""What the benchmarks stand on. No times are judged here."""

import http.client
import socket
from pathlib import Path

import numpy as np
import pytest

from chiasm.errors import ChiasmError, InvalidInput
from chiasm.evaluation.speed import BENCHMARKS, benchmark
from chiasm.evaluation.speed.pictures import bare_loop
from chiasm.evaluation.speed.searching import K, exact_recall, phrases
from chiasm.evaluation.speed.server import Server
from chiasm.evaluation.speed.subject import load_subject, turns, write_jpegs
from chiasm.media import sniff


def test_two_ways_take_turns_at_going_first():
    order: list[str] = []
    taken = turns(lambda i: order.append(f"a{i}"), lambda i: order.append(f"b{i}"), 3)
    assert order == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert taken.shape == (3, 2)
    assert (taken > 0).all()


def test_recall_counts_equal_neighbours_as_good():
    cosines = np.concatenate([np.full(K + 1, 0.9), np.full(20, 0.1)]).astype(np.float32)
    assert exact_recall(np.arange(1, K + 1), cosines) == 1.0
    assert exact_recall(np.array([*range(K - 1), K + 5]), cosines) == 0.9
    assert exact_recall(np.zeros(0, np.int64), cosines) == 0.0


def test_phrases_differ_and_are_of_both_languages():
    found = phrases(100)
    assert len(set(found)) == 100
    assert found == phrases(100)
    assert 40 <= sum(text.isascii() for text in found) <= 60


def test_the_pictures_are_different_jpegs(tmp_path: Path):
    contents = [path.read_bytes() for path in write_jpegs(tmp_path, 3)]
    assert len(set(contents)) == 3
    assert all(sniff(content).mime == "image/jpeg" for content in contents)


def test_the_bare_loop_computes_what_the_toolkit_computes(tiny_checkpoint: Path, tmp_path: Path):
    subject = load_subject(str(tiny_checkpoint), quick=True)
    paths = write_jpegs(tmp_path, 2)
    ours, bare = subject.model.embed(paths), bare_loop(subject, paths)
    assert ours.shape == bare.shape
    # They fit a picture into the square in different ways, and are near each other all the same.
    assert (ours * bare).sum(axis=1).min() > 0.5


def test_search_is_measured_in_a_library_of_its_own(tiny_checkpoint: Path):
    report = benchmark(str(tiny_checkpoint), only=["searching"], quick=True)
    rows = {row.what: row for row in report.rows}
    assert rows[f"recall@{K} against all cosines"].figure == pytest.approx(1.0)
    assert rows["search by a vector, median"].unit == "ms"
    assert any("quick" in note for note in report.notes)


def test_benchmarks_are_chosen_by_name():
    assert set(BENCHMARKS) == {"pictures", "searching", "serving"}
    with pytest.raises(InvalidInput, match="got nothing"):
        benchmark(None, only=["nothing"])


def test_a_server_that_cannot_start_is_told_of_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CHIASM_SERVER_WORKERS", "0")
    with pytest.raises(ChiasmError, match=r"server\.workers: expected at least 1"), Server(None, tmp_path):
        pass


def test_a_server_that_goes_away_is_named_with_what_it_said_last(tmp_path: Path) -> None:
    server = Server(None, tmp_path)
    (tmp_path / "server.log").write_text("engine: out of memory", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    server._connection = http.client.HTTPConnection("127.0.0.1", port)
    with pytest.raises(ChiasmError, match=r"ConnectionRefusedError.*engine: out of memory"):
        server.embed(["a red apple"])
