"""The answering side: one thread owns the socket, worker threads run the handlers."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import zmq

from chiasm.errors import ChiasmError, DeadlineExceeded, NotFound, Overloaded
from chiasm.observe.carried import carrying, well_formed
from chiasm.serving import wire
from chiasm.serving.addresses import expect_private
from chiasm.serving.messages import Cancel, Failure, Payload, Reply, Request, ToServer, Waker, error_to_info
from chiasm.serving.wire import Array

logger = logging.getLogger(__name__)

Handler = Callable[[Payload, list[Array]], tuple[Payload, Sequence[Array]]]
POLL_MS = 1000
LINGER_MS = 1000  # how long the last answers may take to leave


class IncomingCall:
    """One call, as its handler sees it. ``reply`` and ``fail`` work from any thread; the first one counts."""

    def __init__(self, server: "RpcServer", peer: bytes, request: Request, arrays: list[Array]) -> None:
        self._server = server
        self.key = (peer, request.id)
        self.method = request.method
        self.payload = request.payload
        self.arrays = arrays
        self.caller = request.caller
        self.carried = well_formed(request.carried)
        self.deadline = None if request.budget is None else time.monotonic() + request.budget
        self.cancelled = False

    @property
    def expired(self) -> bool:
        """Whether nobody waits for the answer any more."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return self.cancelled or late

    def reply(self, payload: Payload, arrays: Sequence[Array] = ()) -> None:
        """Answer."""
        try:
            frames = wire.pack(Reply(self.key[1], payload), arrays)
        except (ChiasmError, TypeError, ValueError, OverflowError) as error:
            logger.exception("the answer to %s cannot be sent", self.method)
            self.fail(error)
            return
        self._server.send(self.key, frames)

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self._server.send(self.key, wire.pack(Failure(self.key[1], error_to_info(error))))


DeferredHandler = Callable[[IncomingCall], None]


class RpcServer:
    """Answers calls at ``address`` between :meth:`start` and :meth:`stop`.

    Args:
        address: ``ipc:///…`` in a folder of mode 0700.
        handlers: plain functions; they run in ``threads`` worker threads.
        deferred: functions that are called in the socket's own thread, return at once, and answer later
            through ``call.reply`` or ``call.fail``.
        on_cancel: told when the caller of a deferred call has left; also in the socket's thread.
        max_pending: calls in progress beyond which new ones are refused at once.

    Errors that a handler raises cross as :class:`ChiasmError`; others are logged and cross without details.
    """

    def __init__(
        self,
        address: str,
        handlers: Mapping[str, Handler],
        *,
        deferred: Mapping[str, DeferredHandler] | None = None,
        on_cancel: Callable[[IncomingCall], None] | None = None,
        threads: int = 4,
        max_pending: int = 1024,
    ) -> None:
        expect_private(address)
        self._address = address
        self._handlers = dict(handlers)
        self._deferred = dict(deferred or {})
        self._on_cancel = on_cancel
        self._max_pending = max_pending
        self._waker = Waker()
        self._outbox: queue.SimpleQueue[tuple[tuple[bytes, int], list[wire.Frame]]] = queue.SimpleQueue()
        self._todo: queue.SimpleQueue[IncomingCall | None] = queue.SimpleQueue()
        self._pending: dict[tuple[bytes, int], IncomingCall] = {}
        self._stop_at: float | None = None
        self._failed: BaseException | None = None
        self._bound = threading.Event()
        self._threads = threads
        self._io = threading.Thread(target=self._run, name="rpc-server", daemon=True)

    @property
    def pending(self) -> int:
        """Calls in progress."""
        return len(self._pending)

    @property
    def draining(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop_at is not None

    def start(self) -> Self:
        """Begin to listen; returns once callers can connect."""
        self._io.start()
        for number in range(self._threads):
            # Daemons: a handler that never returns must not keep the process from ending.
            threading.Thread(target=self._work, name=f"rpc-worker-{number}", daemon=True).start()
        self._bound.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def stop(self, grace: float = 5.0) -> None:
        """Refuse new calls, give those in progress ``grace`` seconds, then close."""
        self._stop_at = time.monotonic() + grace
        self._waker.wake()
        self._io.join()
        for _ in range(self._threads):
            self._todo.put(None)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def send(self, key: tuple[bytes, int], frames: list[wire.Frame]) -> None:
        """Hand an answer to the socket's thread."""
        self._outbox.put((key, frames))
        self._waker.wake()

    def _run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        router = context.socket(zmq.ROUTER)
        router.setsockopt(zmq.SNDHWM, 0)  # a ROUTER drops silently at its mark; max_pending bounds it instead
        router.setsockopt(zmq.MAXMSGSIZE, wire.MAX_FRAME_BYTES)
        try:
            router.bind(self._address)
        except zmq.ZMQError as error:
            self._failed = error
            context.destroy(linger=0)
            return
        finally:
            self._bound.set()
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        poller.register(self._waker.fileno(), zmq.POLLIN)
        while not self._finished():
            poller.poll(self._patience_ms())
            self._waker.clear()
            self._receive(router)
            self._flush(router)
        self._flush(router)
        context.destroy(linger=LINGER_MS)
        self._waker.close()

    def _patience_ms(self) -> int:
        if self._stop_at is None:
            return POLL_MS
        return max(1, min(POLL_MS, int(1000 * (self._stop_at - time.monotonic()))))

    def _finished(self) -> bool:
        return self._stop_at is not None and (not self._pending or time.monotonic() >= self._stop_at)

    def _receive(self, router: "zmq.Socket[bytes]") -> None:
        with suppress(zmq.Again):
            for _ in range(64):  # then let answers out
                peer, *frames = router.recv_multipart(zmq.NOBLOCK, copy=False)
                self._take(peer.bytes, [frame.buffer for frame in frames])

    def _take(self, peer: bytes, frames: list[memoryview]) -> None:
        try:
            message, arrays = wire.unpack(frames, ToServer)
        except ChiasmError as error:
            logger.warning("a malformed message was dropped: %s", error.en)
            return
        if isinstance(message, Cancel):
            self._cancel((peer, message.id))
            return
        if (peer, message.id) in self._pending:
            logger.warning("a call with a number in use was dropped: %d", message.id)
            return
        call = IncomingCall(self, peer, message, arrays)
        refusal = self._refusal(call)
        self._pending[call.key] = call
        if refusal is not None:
            call.fail(refusal)
        elif call.method in self._deferred:
            self._guard(call, self._deferred[call.method])
        else:
            self._todo.put(call)

    def _refusal(self, call: IncomingCall) -> ChiasmError | None:
        if self._stop_at is not None:
            return Overloaded(
                "the process is shutting down", "进程正在关闭", code="draining", retry_after=2.0
            )
        if len(self._pending) >= self._max_pending:
            return Overloaded(
                f"{len(self._pending)} calls are in progress already",
                f"已有 {len(self._pending)} 个调用正在处理",
                retry_after=1.0,
            )
        if call.method not in self._deferred and call.method not in self._handlers:
            return NotFound(f"there is no method {call.method!r}", f"没有名为 {call.method!r} 的方法")
        return None

    def _cancel(self, key: tuple[bytes, int]) -> None:
        call = self._pending.pop(key, None)
        if call is not None:
            call.cancelled = True
            if self._on_cancel is not None and call.method in self._deferred:
                self._on_cancel(call)

    def _flush(self, router: "zmq.Socket[bytes]") -> None:
        with suppress(queue.Empty):
            while True:
                key, frames = self._outbox.get_nowait()
                if self._pending.pop(key, None) is not None:
                    router.send_multipart([key[0], *frames], copy=False)

    def _work(self) -> None:
        while (call := self._todo.get()) is not None:
            if call.expired:
                call.fail(
                    DeadlineExceeded("the deadline passed before the work began", "尚未开始处理，期限已过")
                )
            else:
                self._guard(call, self._handle)

    def _handle(self, call: IncomingCall) -> None:
        call.reply(*self._handlers[call.method](call.payload, call.arrays))

    def _guard(self, call: IncomingCall, handler: Callable[[IncomingCall], Any]) -> None:
        with carrying(call.carried):
            try:
                handler(call)
            except ChiasmError as error:
                call.fail(error)
            except Exception as error:
                logger.exception("%s failed", call.method)
                call.fail(error)
