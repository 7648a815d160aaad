"""The supervisor, with real processes and real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from supervised import Plan

from chiasm.errors import SettingsError
from chiasm.serving.specs import ProcessSpec, arguments, read_order, write_order
from chiasm.serving.supervisor import Backoff, SupervisorState, read_state
from chiasm.settings import ServerSettings, Settings

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


def eventually(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while not (result := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return result


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # a zombie that nobody has collected yet is dead enough
    try:
        return not status.parent.parent.exists() or ") Z" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


class Running:
    """A supervisor in a process of its own, and what its children wrote down."""

    def __init__(self, folder: Path, children: list[tuple[str, str, dict]], **options: Any) -> None:
        self.folder = folder
        plan = msgspec.json.encode(Plan(str(folder), children, **options)).decode()
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "supervised.py"), plan],
            env={**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{HERE}"},
            stderr=subprocess.DEVNULL,
        )

    def events(self) -> list[str]:
        path = self.folder / "events"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self, name: str) -> list[int]:
        lines = [line.split() for line in self.events()]
        return [int(line[1]) for line in lines if line[0] == name and len(line) == 2 and line[1].isdigit()]

    def pid(self, name: str) -> int:
        return int(eventually(lambda: self.pids(name))[-1])

    def state(self) -> SupervisorState | None:
        return read_state(self.folder / "state.json")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*children: tuple[str, str, dict], **options: Any) -> Running:
        started.append(Running(tmp_path, list(children), **options))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


Run = Callable[..., Running]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_children_in_reverse_order(run: Run, number: signal.Signals) -> None:
    running = run(("first", "sleeper", {}), ("second", "sleeper", {"seconds_to_end": 0.3}))
    pids = [running.pid("first"), running.pid("second")]
    assert running.end(number) == 0
    assert [line for line in running.events() if line.endswith("ended") and "log" not in line] == [
        "second ended",
        "first ended",
    ]
    assert not any(map(alive, pids))
    assert running.state() is None


def test_a_dead_child_is_started_again_and_the_others_go_on(run: Run) -> None:
    running = run(("a", "sleeper", {}), ("b", "sleeper", {}))
    before, other = running.pid("a"), running.pid("b")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: len(running.pids("a")) == 2)
    assert running.pid("a") != before
    assert running.pid("b") == other
    state = running.state()
    assert state is not None
    assert (state.children["a"].restarts, state.children["a"].last_exit) == (1, -signal.SIGKILL)
    assert state.children["b"].restarts == 0
    assert state.all_running
    assert running.end() == 0


def test_a_child_that_keeps_dying_does_not_disturb_the_others(run: Run) -> None:
    running = run(("bad", "failing", {}), ("good", "sleeper", {}), first_delay=0.01)
    eventually(lambda: len(running.pids("bad")) >= 4)
    assert sum("bad: ended with status 1, starts again" in line for line in running.events()) >= 3
    assert len(running.pids("good")) == 1
    assert running.end() == 0


def test_the_state_tells_of_a_child_that_is_down(run: Run) -> None:
    running = run(("bad", "failing", {}), ("good", "sleeper", {}), first_delay=600.0)
    running.pid("good")
    state = eventually(lambda: (s := running.state()) and s.children["bad"].state == "waiting" and s)
    assert not state.all_running
    assert state.children["bad"].last_exit == 1
    assert state.children["good"].state == "running"
    assert running.end() == 0


def test_a_child_that_cannot_work_as_it_is_set_up_ends_everything(run: Run) -> None:
    running = run(("good", "sleeper", {}), ("bad", "misconfigured", {}))
    assert running.process.wait(60) == 1
    assert any("cannot work" in line for line in running.events())
    assert not any(map(alive, running.pids("good")))


def test_who_ignores_the_signal_is_killed_after_the_grace(run: Run) -> None:
    running = run(("deaf", "stubborn", {}), grace=0.1)
    pid = running.pid("deaf")
    assert running.end() == 0
    assert not alive(pid)
    assert "log: deaf: did not end in time, killed" in running.events()


def test_a_second_signal_does_not_wait_for_the_grace(run: Run) -> None:
    running = run(("deaf", "stubborn", {}), grace=600.0)
    running.pid("deaf")
    running.process.send_signal(signal.SIGINT)
    eventually(lambda: (s := running.state()) and s.draining)
    assert running.end(signal.SIGINT) == 0


@pytest.mark.parametrize("hang", [False, True])
def test_when_the_supervisor_is_killed_alone_nobody_is_left(run: Run, hang: bool) -> None:
    running = run(("a", "sleeper", {}), ("deaf", "stubborn", {}), ("web", "parent", {}))
    pids = [running.pid(name) for name in ("a", "deaf", "web", "web-child")]
    if hang:
        if sys.platform != "linux":
            pytest.skip("only Linux ends a child that hangs")
        for pid in (pids[0], pids[2]):
            os.kill(pid, signal.SIGSTOP)
    running.end(signal.SIGKILL)
    eventually(lambda: not any(map(alive, pids)))


def test_what_a_dead_child_left_behind_is_ended_before_it_starts_again(run: Run) -> None:
    running = run(("web", "parent", {}))
    web, grandchild = running.pid("web"), running.pid("web-child")
    os.kill(web, signal.SIGKILL)
    eventually(lambda: len(running.pids("web")) == 2)
    assert not alive(grandchild)
    assert running.end() == 0
    assert not alive(running.pids("web-child")[-1])


def test_arguments_arrive_as_their_types_and_standard_input_is_empty(run: Run) -> None:
    settings = msgspec.to_builtins(Settings(server=ServerSettings(port=1234)), enc_hook=str)
    running = run(("typed", "typed", {"settings": settings, "numbers": [1, 2]}))
    running.pid("typed")
    assert "1234 PosixPath (1, 2) ''" in running.events()
    assert running.end() == 0


def test_the_delay_grows_and_is_bounded() -> None:
    backoff = Backoff(first=1.0, factor=2.0, longest=5.0)
    assert [backoff.delay(n) for n in (1, 2, 3, 4, 1000)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def target(path: Path, count: int) -> None:
    """Something with annotations."""


def test_an_order_comes_back_as_it_was_given() -> None:
    spec = ProcessSpec(name="x", target="m:f", args={"path": Path("a/b"), "count": 3}, spawns=True)
    order = read_order(BytesIO(write_order(spec, parent=42)))
    assert (order.name, order.target, order.parent, order.spawns) == ("x", "m:f", 42, True)
    assert arguments(target, order.args) == {"path": Path("a/b"), "count": 3}


@pytest.mark.parametrize("data", [b"", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x03abc"])
def test_anything_else_is_not_an_order(data: bytes) -> None:
    with pytest.raises(SettingsError, match="order"):
        read_order(BytesIO(data))


@pytest.mark.parametrize("args", [{"nobody": 1}, {"count": "three"}, {"path": 5}])
def test_arguments_of_another_type_are_refused(args: dict[str, Any]) -> None:
    with pytest.raises((SettingsError, NotImplementedError)):
        arguments(target, args)


def test_a_broken_state_file_counts_as_no_supervisor(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    assert read_state(tmp_path / "state.json") is None
    assert read_state(tmp_path / "absent") is None
