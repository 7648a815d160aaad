"""What the benchmarks stand on. No times are judged here."""

import http.client
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chiasm.errors import ChiasmError, InvalidInput
from chiasm.evaluation.speed import BENCHMARKS, benchmark
from chiasm.evaluation.speed.pictures import bare_loop
from chiasm.evaluation.speed.processes import family, usage
from chiasm.evaluation.speed.searching import K, exact_recall, phrases
from chiasm.evaluation.speed.server import Server
from chiasm.evaluation.speed.subject import load_subject, turns, write_jpegs
from chiasm.evaluation.speed.traffic import Answer, Traffic, closed_loop, open_loop, post
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
    assert set(BENCHMARKS) == {"pictures", "searching", "serving", "load", "large"}
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


@pytest.fixture
def slow_echo() -> Iterator[tuple[int, list[bytes]]]:
    """A port, and the bodies that came to it; every third gets 503; a connection takes two requests."""
    came: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(body)
            time.sleep(0.02)
            self.send_response(503 if json.loads(body)["input"] % 3 == 2 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.left = getattr(self, "left", 2) - 1
            self.close_connection = self.left == 0

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, came
        server.shutdown()
        thread.join()


def numbered(number: int) -> bytes:
    return post("/v1/embeddings", {"input": number})


def test_closed_loops_ask_again_when_they_are_answered(slow_echo: tuple[int, list[bytes]]):
    port, came = slow_echo
    traffic = closed_loop(port, numbered, clients=3, seconds=0.3)
    assert len(traffic.answers) == len(came) == len(set(came))
    assert len(traffic.with_status(503)) == len(came) // 3
    assert all(json.loads(one.body) == {"input": one.number} for one in traffic.answers)
    assert min(one.seconds for one in traffic.answers) >= 0.02
    assert traffic.per_second() <= 3 / 0.02


def test_open_loops_ask_at_their_own_times(slow_echo: tuple[int, list[bytes]]):
    port, came = slow_echo
    traffic = open_loop(port, numbered, rate=200, seconds=0.5)
    assert len(traffic.answers) == len(came) == 100
    dues = [one.due for one in traffic.answers]
    assert 0.3 < dues[-1] - dues[0] < 0.8
    assert traffic.quantiles(0.0)[0] >= 0.02


def test_who_is_not_there_gives_no_answer():
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        traffic = open_loop(unheard.getsockname()[1], numbered, rate=100, seconds=0.05)
    assert [one.status for one in traffic.answers] == [0] * 5
    assert np.isnan(traffic.quantiles(0.5)).all()
    assert traffic.per_second() == 0


def test_quantiles_are_of_what_was_answered():
    answers = [
        Answer(number=number, status=200 if number < 3 else 503, due=0.0, ended=float(number))
        for number in range(5)
    ]
    assert Traffic(answers=answers, seconds=2.0).quantiles(0.5, 1.0) == [1.0, 2.0]
    assert Traffic(answers=answers, seconds=2.0).per_second() == 1.5


def test_a_family_is_measured_with_all_that_it_started():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert len(family(parent.pid)) == 2
        used = usage(parent.pid)
        assert (used.processes, used.threads) == (2, 2)
        assert used.rss >= used.pss > 5_000_000
        assert used.descriptors >= 6
        assert 0 < used.cpu_seconds < 60
        parent.communicate(b"\n")
    assert usage(parent.pid).rss == 0, "it is no more"
