"""Keeps the processes of a server alive, and ends them together.

The supervisor opens no sockets and no databases and starts no threads: it can hardly fail. Its children run
in sessions of their own, so that Ctrl-C reaches it alone and a child can be ended with all it started.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from chiasm.serving.specs import (
    CANNOT_WORK,
    ChildState,
    ProcessSpec,
    State,
    SupervisorState,
    read_state,
    write_order,
)

__all__ = ["Backoff", "ChildState", "ProcessSpec", "SupervisorState", "read_state", "supervise"]

POLL_SECONDS = 1.0
LEAST_GRACE = 0.5  # what a child gets when those before it have used the time up


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Seconds before a dead child is started again; one that ran ``healthy_after`` seconds begins anew."""

    first: float = 0.2
    factor: float = 2.0
    longest: float = 30.0
    healthy_after: float = 30.0

    def delay(self, failures: int) -> float:
        """After the ``failures``-th death in a row (from 1)."""
        return min(self.longest, self.first * self.factor ** min(failures - 1, 60))


def supervise(
    specs: Sequence[ProcessSpec],
    *,
    grace: float = 15.0,
    log: Callable[[str], None] = print,
    state_file: Path | None = None,
    backoff: Backoff | None = None,
) -> int:
    """Run ``specs`` until SIGTERM or SIGINT, then end them in reverse order. Call it in the main thread.

    Args:
        specs: in the order of starting.
        grace: seconds for all of them together to finish what they do; a second signal cuts it short.
        log: takes one line at a time.
        state_file: where to keep a :class:`SupervisorState` as JSON; read it with :func:`read_state`.
        backoff: how soon a dead child is started again.

    Returns:
        0 after a signal; 1 when a child cannot work at all (it ended with status 78 at its first start).
    """
    with _signals() as signals:
        fleet = _Fleet(specs, backoff or Backoff(), log, state_file)
        try:
            while not signals.stop and not fleet.hopeless:
                fleet.tend()
                signals.wait(fleet.patience())
        finally:
            fleet.drain(grace, signals)
        return 1 if fleet.hopeless else 0


class _Child:
    """One process and its history."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.state: State = "waiting"
        self.start_at = 0.0
        self.started = 0.0
        self.failures = 0
        self.restarts = -1
        self.since = time.time()
        self.last_exit: int | None = None

    def become(self, state: State) -> None:
        self.state = state
        self.since = time.time()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "chiasm.serving.child"],
            stdin=subprocess.PIPE,  # held open: its end tells the child that the supervisor is gone
            env={**os.environ, **self.spec.env},
            start_new_session=True,
        )
        self.restarts += 1
        self.started = time.monotonic()
        self.become("running")
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died already; the next look will tell
            self.process.stdin.write(write_order(self.spec, os.getpid()))
            self.process.stdin.flush()

    def died(self) -> bool:
        """Whether it has ended by itself; if so, what it started is ended as well."""
        if self.process is None or self.process.poll() is None:
            return False
        self.forget()
        return True

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it and all in its group, now."""
        if self.process is not None:
            self._kill_group()
            self.process.wait()
            self.forget()

    def forget(self) -> None:
        assert self.process is not None
        self._kill_group()
        self.last_exit = self.process.returncode
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        self.process = None

    def snapshot(self) -> ChildState:
        pid = None if self.process is None else self.process.pid
        return ChildState(self.state, pid, max(0, self.restarts), self.since, self.last_exit)

    def _kill_group(self) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class _Fleet:
    """All the children."""

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        backoff: Backoff,
        log: Callable[[str], None],
        state_file: Path | None,
    ) -> None:
        self._children = [_Child(spec) for spec in specs]
        self._backoff = backoff
        self._log = log
        self._state_file = state_file
        self._draining = False
        self.hopeless = False

    def tend(self) -> None:
        """Note the dead, start those that are due."""
        for child in self._children:
            if child.died():
                self._note_death(child)
        for child in self._children:
            if child.state == "waiting" and child.start_at <= time.monotonic() and not self.hopeless:
                child.start()
                self._log(f"{child.spec.name}: started, process {child.snapshot().pid}")
                self._publish()

    def patience(self) -> float:
        """Seconds until the next start is due, at most ``POLL_SECONDS``."""
        due = [child.start_at - time.monotonic() for child in self._children if child.state == "waiting"]
        return max(0.0, min([POLL_SECONDS, *due]))

    def drain(self, grace: float, signals: "_Signals") -> None:
        """End all, the last one first."""
        self._draining = True
        self._publish()
        end = time.monotonic() + grace
        for child in reversed(self._children):
            if child.process is not None:
                child.become("stopping")
                self._publish()
                child.signal(signal.SIGTERM)
                limit = max(end, time.monotonic() + LEAST_GRACE)
                while not child.died() and time.monotonic() < limit and signals.stop < 2:
                    signals.wait(min(0.2, limit - time.monotonic()))
                if child.process is not None:
                    self._log(f"{child.spec.name}: did not end in time, killed")
                    child.kill()
                self._log(f"{child.spec.name}: ended")
            child.become("stopped")
            self._publish()
        if self._state_file is not None:
            self._state_file.unlink(missing_ok=True)

    def _note_death(self, child: _Child) -> None:
        if child.last_exit == CANNOT_WORK and child.restarts == 0:
            self._log(f"{child.spec.name}: cannot work as it is set up")
            child.become("stopped")
            self.hopeless = True
            return
        healthy = time.monotonic() - child.started >= self._backoff.healthy_after
        child.failures = 1 if healthy else child.failures + 1
        delay = self._backoff.delay(child.failures)
        child.start_at = time.monotonic() + delay
        child.become("waiting")
        self._log(f"{child.spec.name}: ended with status {child.last_exit}, starts again in {delay:.1f} s")
        self._publish()

    def _publish(self) -> None:
        if self._state_file is None:
            return
        children = {child.spec.name: child.snapshot() for child in self._children}
        state = SupervisorState(os.getpid(), self._draining, children)
        partial = self._state_file.with_name(self._state_file.name + ".part")
        partial.write_bytes(msgspec.json.encode(state))
        partial.replace(self._state_file)


class _Signals:
    """How often we were asked to stop; and a pipe that any signal makes readable."""

    def __init__(self, reader: int) -> None:
        self.stop = 0
        self._reader = reader

    def ask_to_stop(self, _number: int, _frame: Any) -> None:
        self.stop += 1

    def wait(self, seconds: float) -> None:
        """Sleep until a signal comes (a child's death is one), at most ``seconds``."""
        readable, _, _ = select.select([self._reader], [], [], max(0.0, seconds))
        if readable:
            os.read(self._reader, 4096)


@contextmanager
def _signals() -> Iterator[_Signals]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signals = _Signals(reader)
    old_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handlers: dict[signal.Signals, Any] = {
        signal.SIGTERM: signals.ask_to_stop,
        signal.SIGINT: signals.ask_to_stop,
        signal.SIGCHLD: lambda _number, _frame: None,
    }
    old = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield signals
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_wakeup)
        os.close(reader)
        os.close(writer)
