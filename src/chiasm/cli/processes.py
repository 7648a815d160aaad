"""The processes of a server, and where they meet."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from chiasm.observe.logs import line_of, log_format
from chiasm.observe.scrape import FOLDER, FOLDER_VARIABLE
from chiasm.serving.addresses import ipc_address, make_private_folder
from chiasm.serving.specs import STATE_FILE, ProcessSpec
from chiasm.serving.supervisor import supervise
from chiasm.settings import Settings

ENGINE = "engine"
LIBRARY = "library"


def run_processes(settings: Settings, *, log: Callable[[str], None]) -> int:
    """Keep the server's processes alive until a signal comes; returns the exit code."""
    folder = make_private_folder()
    form = log_format(settings.server.log_format)
    (folder / FOLDER).mkdir()

    def tell(line: str) -> None:
        log(line_of(form, "supervisor", line, time.time()))

    try:
        return supervise(specs(settings, folder), log=tell, state_file=folder / STATE_FILE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


LEAN = {"MALLOC_ARENA_MAX": "2"}
"""glibc gives every thread an arena that never shrinks: hundreds of megabytes for nothing."""
THREADED = {**LEAN, "OPENBLAS_NUM_THREADS": "1"}
"""Where many threads prepare inputs side by side, a spectrogram's one small product must not be handed out to
more of them: on a busy machine it then waits for the slowest."""


def specs(settings: Settings, folder: Path) -> list[ProcessSpec]:
    """In the order of starting; they end in the reverse order, so that what others need goes last."""
    engine, library = ipc_address(folder, ENGINE), ipc_address(folder, LIBRARY)
    figures = {FOLDER_VARIABLE: str(folder / FOLDER)}
    form = log_format(settings.server.log_format)
    return [
        ProcessSpec(
            name="engine",
            target="chiasm.serving.engine:run_engine",
            args={"settings": settings, "address": engine},
            env={**LEAN, **figures},
            log_format=form,
        ),
        ProcessSpec(
            name="library",
            target="chiasm.worker:run_worker",
            args={"settings": settings, "address": library, "engine_address": engine},
            env={**THREADED, **figures},
            spawns=True,
            log_format=form,
        ),
        ProcessSpec(
            name="web",
            target="chiasm.web:run_web",
            args={"settings": settings, "engine": engine, "library": library},
            env={**THREADED, **figures},
            spawns=True,
            log_format=form,
        ),
    ]


def engine_beside(library_address: str) -> str:
    """The address of the engine whose library answers at ``library_address``: the same folder."""
    return library_address.removesuffix(LIBRARY) + ENGINE
