"""A bounded pool of threads for fetching and decoding."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import TypeVar

from chiasm.errors import DeadlineExceeded, Overloaded

T = TypeVar("T")
R = TypeVar("R")


class DecodePool:
    """Runs slow work on the inputs of a request side by side, never more at a time than there are threads.

    Args:
        threads: pieces of work at a time.
        max_waiting: pieces beyond those, waiting, before new requests are refused.
    """

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._room = threads + max_waiting
        self._used = 0
        self._lock = Lock()

    def map(self, work: Callable[[T], R], inputs: Sequence[T], *, seconds: float) -> list[R]:
        """``[work(x) for x in inputs]`` within ``seconds``; what has not begun when one fails never begins.

        Raises:
            Overloaded: too much is waiting already.
            DeadlineExceeded: it took longer.
        """
        with self._room_for(len(inputs)):
            futures = [self._executor.submit(work, one) for one in inputs]
            try:
                return _collect(futures, seconds)
            finally:
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        """End the threads; work in progress ends first."""
        self._executor.shutdown(cancel_futures=True)

    @contextmanager
    def _room_for(self, pieces: int) -> Iterator[None]:
        with self._lock:
            # one request may always come in, however many pieces it has: limits.parts bounds it
            if self._used and self._used + pieces > self._room:
                raise Overloaded(
                    f"{self._used} inputs are being decoded or wait for it already",
                    f"已有 {self._used} 个输入正在解码或等待解码",
                    retry_after=1.0,
                )
            self._used += pieces
        try:
            yield
        finally:
            with self._lock:
                self._used -= pieces


def _collect(futures: Sequence[Future[R]], seconds: float) -> list[R]:
    end = monotonic() + seconds
    try:
        return [future.result(max(0.0, end - monotonic())) for future in futures]
    except FutureTimeout as error:
        raise DeadlineExceeded(
            "the inputs were not decoded before the deadline (server.deadline)",
            "未能在期限内完成解码（server.deadline）",
        ) from error
