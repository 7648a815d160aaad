"""How a child process learns that its supervisor is gone, even when that was killed with SIGKILL.

A child without children of its own is killed by the kernel (Linux), which works even while it hangs, and a
thread of its kills it when the pipe from the supervisor ends. One with children must take them along: a
guard, a tiny process in the same group, waits for the end of the pipe and kills the group.
"""

import ctypes
import os
import signal
import sys
import threading
from typing import NoReturn

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent dies. Linux only; elsewhere nothing.

    Args:
        parent: who the parent should be; if it is gone already, this process ends here.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent is not None and os.getppid() != parent:
        _end_group()


def watch_pipe(descriptor: int) -> None:
    """Kill this process's group as soon as the other end of the pipe is closed."""
    threading.Thread(target=_watch, args=(descriptor,), name="lifeline", daemon=True).start()


def start_guard(descriptor: int) -> None:
    """Start the guard of this process's group. Call it before there are threads."""
    middle = os.fork()
    if middle == 0:
        # Twice, so that the guard is nobody's child here: os.wait() of the target must not meet it.
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            while os.read(descriptor, 64):
                pass
            os.killpg(0, signal.SIGKILL)
        os._exit(0)
    os.waitpid(middle, 0)


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 64):
        pass
    _end_group()


def _end_group() -> NoReturn:
    if os.getpgrp() == os.getpid():  # never the group of someone else's shell
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
