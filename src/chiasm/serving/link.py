"""One connection to a server, and the thread that owns its socket."""

import logging
import queue
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

import zmq
from zmq.utils.monitor import recv_monitor_message

from chiasm.errors import ChiasmError, Overloaded
from chiasm.serving import wire
from chiasm.serving.messages import Cancel, Payload, Reply, ToClient, Waker, info_to_error
from chiasm.serving.wire import Array

logger = logging.getLogger(__name__)

Answer = tuple[Payload, list[Array]]
RECONNECT_MS = 50
HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 4000  # a server whose socket is open but that does not answer pings is dead, too
EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
POLL_MS = 1000


class Link:
    """Sends frames and resolves futures; notices at once when the server's end closes."""

    def __init__(self, address: str, service: str, connect_grace: float) -> None:
        self.generation = 0
        self._address = address
        self._service = service
        self._connect_grace = connect_grace
        self._waker = Waker()
        self._inbox: queue.SimpleQueue[tuple[int, list[wire.Frame], bool]] = queue.SimpleQueue()
        self._answers: dict[int, Future[Answer]] = {}
        self._held: dict[int, tuple[list[wire.Frame], float]] = {}  # not sent yet: frames, give-up time
        self._sent: set[int] = set()
        self.connected = False
        self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"rpc-{service}", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Calls without an answer."""
        return len(self._answers)

    def send(self, number: int, frames: list[wire.Frame]) -> "Future[Answer]":
        """Send a request; the future gets its answer or error."""
        answer: Future[Answer] = Future()
        with self._lock:
            if self._closing:
                answer.set_exception(self._unavailable("the client was closed", "客户端已关闭"))
                return answer
            self._answers[number] = answer
        self._inbox.put((number, frames, False))
        self._waker.wake()
        return answer

    def cancel(self, number: int) -> None:
        """Forget a request and tell the server so."""
        if self._answers.pop(number, None) is not None:
            self._inbox.put((number, wire.pack(Cancel(number)), True))
            self._waker.wake()

    def close(self) -> None:
        """End the thread; what is in progress fails."""
        with self._lock:
            self._closing = True
        self._waker.wake()
        self._thread.join()

    def _run(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._poller.register(self._waker.fileno(), zmq.POLLIN)
        self._open()
        while not self._closing:
            self._poller.poll(self._patience_ms())
            self._waker.clear()
            self._receive()
            self._watch()
            self._take_requests()
            self._give_up()
        self._fail(list(self._answers), "the client was closed", "客户端已关闭")
        self._shut()
        self._context.term()
        self._waker.close()

    def _open(self) -> None:
        self._dealer = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDHWM, 0),
            (zmq.RECONNECT_IVL, RECONNECT_MS),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
            (zmq.MAXMSGSIZE, wire.MAX_FRAME_BYTES),
        ):
            self._dealer.setsockopt(option, value)
        self._monitor = self._dealer.get_monitor_socket(EVENTS)
        self._dealer.connect(self._address)
        self._poller.register(self._dealer, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)

    def _shut(self) -> None:
        self._poller.unregister(self._dealer)
        self._poller.unregister(self._monitor)
        self._dealer.disable_monitor()
        self._monitor.close()
        self._dealer.close()

    def _patience_ms(self) -> int:
        if not self._held:
            return POLL_MS
        nearest = min(until for _, until in self._held.values())
        return max(1, min(POLL_MS, int(1000 * (nearest - time.monotonic())) + 1))

    def _receive(self) -> None:
        with suppress(zmq.Again):
            while True:
                frames = self._dealer.recv_multipart(zmq.NOBLOCK, copy=False)
                self._settle([frame.buffer for frame in frames])

    def _settle(self, frames: list[memoryview]) -> None:
        try:
            message, arrays = wire.unpack(frames, ToClient)
        except ChiasmError as error:
            logger.warning("a malformed answer of the %s was dropped: %s", self._service, error.en)
            return
        self._sent.discard(message.id)
        answer = self._answers.pop(message.id, None)
        if answer is None:
            return  # its caller has left
        with suppress(InvalidStateError):
            if isinstance(message, Reply):
                answer.set_result((message.payload, arrays))
            else:
                answer.set_exception(info_to_error(message.error))

    def _watch(self) -> None:
        with suppress(zmq.Again):
            while True:
                if recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"] == zmq.EVENT_DISCONNECTED:
                    self._lose()
                    return
                self.connected = True
                self.generation += 1

    def _lose(self) -> None:
        """The server's end has closed: what it did not answer fails, and a new socket waits for it.

        A new one, because the old would send to the next server what it could not send to this one. (With
        zmq.IMMEDIATE it would not, but then it also drops answers that have come and are not read yet.)
        """
        self.connected = False
        self._receive()
        self._fail(
            list(self._sent),
            f"the {self._service} stopped while it worked on this",
            f"{self._service} 进程在处理过程中停止",
        )
        self._shut()
        self._open()

    def _take_requests(self) -> None:
        with suppress(queue.Empty):
            while True:
                number, frames, is_cancel = self._inbox.get_nowait()
                if is_cancel:
                    if number in self._sent:
                        self._sent.discard(number)
                        self._dealer.send_multipart(frames, zmq.NOBLOCK)
                    self._held.pop(number, None)
                elif number in self._answers:
                    self._held[number] = (frames, time.monotonic() + self._connect_grace)
        if self.connected:
            for number, (frames, _) in self._held.items():
                self._dealer.send_multipart(frames, zmq.NOBLOCK, copy=False)
                self._sent.add(number)
            self._held.clear()

    def _give_up(self) -> None:
        now = time.monotonic()
        late = [number for number, (_, until) in self._held.items() if until <= now]
        for number in late:
            del self._held[number]
        self._fail(late, f"the {self._service} is not there yet", f"{self._service} 进程尚未就绪")

    def _fail(self, numbers: list[int], en: str, zh: str) -> None:
        for number in numbers:
            self._sent.discard(number)
            answer = self._answers.pop(number, None)
            if answer is not None:
                with suppress(InvalidStateError):
                    answer.set_exception(self._unavailable(en, zh))  # one each: callers add to it

    def _unavailable(self, en: str, zh: str) -> Overloaded:
        return Overloaded(
            f"{en}; try again", f"{zh}，请稍后重试", code=f"{self._service}_unavailable", retry_after=1.0
        )
