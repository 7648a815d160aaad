"""Targets for supervised processes, and a supervisor to be run in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from chiasm.errors import SettingsError
from chiasm.serving.specs import ProcessSpec
from chiasm.serving.supervisor import Backoff, supervise
from chiasm.settings import Settings


def note(folder: Path, text: str) -> None:
    with (folder / "events").open("a") as file:
        file.write(text + "\n")


def sleeper(folder: Path, name: str, seconds_to_end: float = 0.0) -> None:
    """Runs until SIGTERM, then takes its time."""

    def end(_number: int, _frame: object) -> None:
        time.sleep(seconds_to_end)
        note(folder, f"{name} ended")
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    note(folder, f"{name} {os.getpid()}")
    while True:
        time.sleep(60)


def stubborn(folder: Path, name: str) -> None:
    """Ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(folder, f"{name} {os.getpid()}")
    while True:
        time.sleep(60)


def parent(folder: Path, name: str) -> None:
    """Has a child of its own that ignores SIGTERM, as a web server has workers."""
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", script])
    note(folder, f"{name}-child {child.pid}")
    note(folder, f"{name} {os.getpid()}")
    child.wait()


def failing(folder: Path, name: str) -> None:
    """Dies at once."""
    note(folder, f"{name} {os.getpid()}")
    raise RuntimeError("no luck")


def misconfigured(folder: Path, name: str) -> None:
    raise SettingsError("expected a port, got a fort", "应为端口")


def typed(folder: Path, settings: Settings, numbers: tuple[int, ...], name: str = "typed") -> None:
    kind = type(settings.library.data_dir).__name__
    note(folder, f"{settings.server.port} {kind} {numbers} {sys.stdin.read()!r}")
    sleeper(folder, name)


class Plan(msgspec.Struct):
    """What the test wants supervised: (name, function, extra arguments)."""

    folder: str
    children: list[tuple[str, str, dict]]
    grace: float = 10.0
    first_delay: float = 0.05


def main() -> int:
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    specs = [
        ProcessSpec(
            name=name,
            target=function if ":" in function else f"supervised:{function}",
            args=args if ":" in function else {"folder": Path(plan.folder), "name": name, **args},
            spawns=function == "parent",
        )
        for name, function, args in plan.children
    ]
    return supervise(
        specs,
        grace=plan.grace,
        state_file=Path(plan.folder) / "state.json",
        backoff=Backoff(first=plan.first_delay),
        log=lambda line: note(Path(plan.folder), f"log: {line}"),
    )


if __name__ == "__main__":
    sys.exit(main())
