"""The calling side: any thread may call; one thread of ours owns the socket."""

import itertools
import os
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any

from chiasm.errors import CallerLeft, DeadlineExceeded, Overloaded
from chiasm.observe.carried import carried
from chiasm.serving import wire
from chiasm.serving.link import Answer, Link
from chiasm.serving.messages import Payload, Request
from chiasm.serving.wire import Array


class OutgoingCall:
    """A call under way."""

    def __init__(self, link: Link, number: int, answer: "Future[Answer]", deadline: float) -> None:
        self._link = link
        self._number = number
        self._answer = answer
        self._deadline = deadline

    def result(self) -> Answer:
        """Wait for the answer until the call's deadline; who stops waiting, for whatever reason, cancels.

        Raises:
            DeadlineExceeded: no answer in time.
            CallerLeft: :meth:`cancel` was called meanwhile, from another thread.
            ChiasmError: what the handler raised; Overloaded when the server died or cannot be reached.
        """
        try:
            return self._answer.result(max(0.0, self._deadline - time.monotonic()))
        except FutureTimeout as error:
            raise DeadlineExceeded("no answer came before the deadline", "在期限内没有得到结果") from error
        finally:
            if not self._answer.done():
                self.cancel()

    def cancel(self) -> None:
        """Tell the server that nobody waits any more; whoever still does gets ``CallerLeft``."""
        self._link.cancel(self._number)
        with suppress(InvalidStateError):
            self._answer.set_exception(CallerLeft("nobody waits for the answer any more", "已无人等待结果"))


class RpcClient:
    """Calls the :class:`RpcServer` at ``address``. Thread-safe; connects at first use, anew after a fork.

    When the server dies, calls in progress fail at once with ``Overloaded`` (code ``<service>_unavailable``);
    new ones wait up to ``connect_grace`` seconds for it to come back.
    """

    def __init__(
        self,
        address: str,
        *,
        service: str = "engine",
        connect_grace: float = 0.5,
        max_pending: int = 4096,
    ) -> None:
        self._address = address
        self._service = service
        self._connect_grace = connect_grace
        self._max_pending = max_pending
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._closed = False
        _clients.add(self)

    @property
    def generation(self) -> int:
        """How often a connection was made: it grows when the server has restarted."""
        return self._link.generation if self._link is not None else 0

    @property
    def connected(self) -> bool:
        """Whether the server is there at this moment, as far as is known."""
        return self._link is not None and self._link.connected

    def call(
        self, method: str, payload: Payload, arrays: Sequence[Array] = (), *, timeout: float = 60.0
    ) -> Answer:
        """Call and wait: (payload, arrays) of the answer.

        Raises:
            DeadlineExceeded: no answer within ``timeout`` seconds.
            ChiasmError: what the handler raised; Overloaded when the server died or cannot be reached.
        """
        return self.start(method, payload, arrays, timeout=timeout).result()

    def start(
        self,
        method: str,
        payload: Payload,
        arrays: Sequence[Array] = (),
        *,
        timeout: float = 60.0,
        caller: str = "",
    ) -> OutgoingCall:
        """Call without waiting, for ``caller``."""
        deadline = time.monotonic() + timeout
        number = next(self._numbers)
        frames = wire.pack(Request(number, method, payload, timeout, dict(carried()), caller), arrays)
        link = self._connected()
        if link.pending >= self._max_pending:
            raise Overloaded(
                f"{link.pending} calls to the {self._service} are in progress already",
                f"已有 {link.pending} 个调用正在等待 {self._service}",
                retry_after=1.0,
            )
        return OutgoingCall(link, number, link.send(number, frames), deadline)

    def close(self) -> None:
        """Fail what is in progress, end the thread. Idempotent."""
        with self._lock:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def __enter__(self) -> "RpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> Link:
        with self._lock:
            if self._closed:
                raise Overloaded("the client is closed", "客户端已关闭", code=f"{self._service}_unavailable")
            if self._link is None:
                self._link = Link(self._address, self._service, self._connect_grace)
            return self._link

    def after_fork(self) -> None:
        """In a forked child the thread is gone and the lock may be held: begin afresh."""
        self._lock = threading.Lock()
        # Kept, not freed: the socket belongs to the parent and must not be touched here.
        _inherited.append(self._link)
        self._link = None


_clients: "weakref.WeakSet[RpcClient]" = weakref.WeakSet()
_inherited: list[Any] = []


def _after_fork() -> None:
    for client in list(_clients):
        client.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
