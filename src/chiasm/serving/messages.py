"""What callers and servers say to each other, and how an error crosses from one process to the other."""

import socket
from collections.abc import Mapping
from typing import Any

import msgspec

from chiasm import errors
from chiasm.errors import ChiasmError

Payload = dict[str, Any]


class Request(msgspec.Struct, array_like=True, tag="call", frozen=True):
    """Call ``method``.

    ``budget``: seconds after which nobody waits for the answer any more. ``carried``: see
    :mod:`chiasm.observe.carried`. ``caller``: for whom, so that each gets a fair share; empty for the
    server's own work and for those who need not say who they are.
    """

    id: int
    method: str
    payload: Payload
    budget: float | None
    carried: dict[str, str] = {}
    caller: str = ""


class Cancel(msgspec.Struct, array_like=True, tag="cancel", frozen=True):
    """The caller of ``id`` has left."""

    id: int


class ErrorInfo(msgspec.Struct, array_like=True, frozen=True):
    """A :class:`ChiasmError` as data."""

    name: str
    en: str
    zh: str
    code: str
    param: str | None
    retry_after: float | None


class Reply(msgspec.Struct, array_like=True, tag="reply", frozen=True):
    """The answer to ``id``."""

    id: int
    payload: Payload


class Failure(msgspec.Struct, array_like=True, tag="failure", frozen=True):
    """``id`` failed."""

    id: int
    error: ErrorInfo


ToServer = Request | Cancel
ToClient = Reply | Failure

_CLASSES: Mapping[str, type[ChiasmError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ChiasmError)
}


def error_to_info(error: BaseException) -> ErrorInfo:
    """As data. Of an error that is not ours nothing is told but that it happened: the log has the rest."""
    ours = (
        error
        if isinstance(error, ChiasmError)
        else ChiasmError("internal error while computing the answer", "计算结果时发生内部错误")
    )
    return ErrorInfo(type(ours).__name__, ours.en, ours.zh, ours.code, ours.param, ours.retry_after)


def info_to_error(info: ErrorInfo) -> ChiasmError:
    """The error again; a class we do not know becomes a plain :class:`ChiasmError`."""
    kind = _CLASSES.get(info.name, ChiasmError)
    return kind(info.en, info.zh, param=info.param, code=info.code, retry_after=info.retry_after)


class Waker:
    """Wakes a polling thread from any other: writing to a socket pair is thread-safe, zmq sockets are not."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """What to poll for reading."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Make the poller return; also after :meth:`close`, when it does nothing."""
        try:
            self._writer.send(b"\0")
        except (BlockingIOError, OSError):
            return  # full: a wake-up is pending anyway; closed: nobody polls any more

    def clear(self) -> None:
        """Take back all wake-ups so far."""
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Free both ends."""
        self._reader.close()
        self._writer.close()
