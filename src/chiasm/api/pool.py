"""A bounded pool of threads for fetching and decoding."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

from chiasm.errors import DeadlineExceeded, Overloaded

T = TypeVar("T")
R = TypeVar("R")


class _Call(Generic[T, R]):
    """The pieces of one request, and the place of the next one to begin."""

    def __init__(self, work: Callable[[T], R], inputs: Sequence[T]) -> None:
        self.work = work
        self.futures: list[Future[R]] = [Future() for _ in inputs]
        self.left = iter(list(zip(self.futures, inputs, strict=True)))

    def give_up(self) -> None:
        """What has not begun never begins."""
        for future in self.futures:
            future.cancel()


class DecodePool:
    """Runs slow work on the inputs of requests side by side, never more at a time than there are threads.

    Requests take turns, piece by piece, so that one with hundreds of slow pieces does not hold up its
    neighbours; ``share`` keeps it from all the threads.

    Args:
        threads: pieces of work at a time.
        max_requests: requests in the pool before new ones are refused.
        share: pieces of one request at a time; all threads if left out.
    """

    def __init__(self, threads: int, max_requests: int, *, share: int | None = None) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._share = share or threads
        self._max_requests = max_requests
        self._requests = 0
        self._lock = Lock()

    def map(self, work: Callable[[T], R], inputs: Sequence[T], *, seconds: float) -> list[R]:
        """``[work(x) for x in inputs]`` within ``seconds``; what has not begun when one fails never begins.

        Raises:
            Overloaded: too much is waiting already.
            DeadlineExceeded: it took longer.
        """
        with self._room_for_one():
            call = _Call(work, inputs)
            for _ in range(min(self._share, len(inputs))):
                self._executor.submit(self._next_of, call)
            try:
                return _collect(call.futures, seconds)
            finally:
                call.give_up()

    def _next_of(self, call: _Call[T, R]) -> None:
        """One piece of the call; the next one queues behind whatever others have brought meanwhile."""
        try:
            future, one = next(call.left)
        except StopIteration:
            return
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call.work(one))
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)
        try:
            self._executor.submit(self._next_of, call)
        except RuntimeError:  # the pool has been closed
            call.give_up()

    def close(self) -> None:
        """End the threads; work in progress ends first."""
        self._executor.shutdown(cancel_futures=True)

    @contextmanager
    def _room_for_one(self) -> Iterator[None]:
        with self._lock:
            if self._requests >= self._max_requests:
                raise Overloaded(
                    f"the inputs of {self._requests} requests are being read already",
                    f"已有 {self._requests} 个请求的输入正在读取",
                    retry_after=1.0,
                )
            self._requests += 1
        try:
            yield
        finally:
            with self._lock:
                self._requests -= 1


def _collect(futures: Sequence[Future[R]], seconds: float) -> list[R]:
    end = monotonic() + seconds
    try:
        return [future.result(max(0.0, end - monotonic())) for future in futures]
    except FutureTimeout as error:
        raise DeadlineExceeded(
            "the inputs were not decoded before the deadline (server.deadline)",
            "未能在期限内完成解码（server.deadline）",
        ) from error
