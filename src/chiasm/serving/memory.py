"""Memory that was freed goes back to the system."""

import ctypes
import threading
import time

EVERY_SECONDS = 10.0


def keep_lean(every: float = EVERY_SECONDS) -> None:
    """Have the C library give freed memory back from time to time, in a thread of its own.

    glibc keeps what was freed below the top of a heap: after one large batch, hundreds of megabytes. Taking
    them back costs some milliseconds. Does nothing where there is no ``malloc_trim``.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return

    def run() -> None:
        while True:
            time.sleep(every)
            trim(0)

    threading.Thread(target=run, name="keep-lean", daemon=True).start()
