"""What a supervised process is, and how its description reaches it."""

import struct
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal

import msgspec

from chiasm.errors import SettingsError
from chiasm.observe.logs import LogFormat

CANNOT_WORK = 78  # EX_CONFIG: the child says that starting it again would not help
MAX_ORDER_BYTES = 1 << 20
STATE_FILE = "state.json"  # beside the sockets

State = Literal["running", "waiting", "stopping", "stopped"]


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """A process to keep alive.

    Attributes:
        name: for people and for the state file.
        target: ``module:function``; runs in the main thread of a fresh interpreter; should end on SIGTERM.
        args: keyword arguments; anything msgspec can carry (settings, paths, numbers), read back by the
            function's annotations.
        env: added to the environment.
        spawns: whether it starts processes of its own, which must not outlive it.
        log_format: of its log lines.
    """

    name: str
    target: str
    args: Mapping[str, object] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    spawns: bool = False
    log_format: LogFormat = "text"


class Order(msgspec.Struct, frozen=True):
    """What a child is told on its standard input."""

    name: str
    target: str
    args: dict[str, Any]
    parent: int
    spawns: bool
    log_format: LogFormat = "text"


class ChildState(msgspec.Struct, frozen=True):
    """How one child is: ``since`` is the ``time.time()`` of its last change."""

    state: State
    pid: int | None
    restarts: int
    since: float
    last_exit: int | None


class SupervisorState(msgspec.Struct, frozen=True):
    """How all of them are."""

    pid: int
    draining: bool
    children: dict[str, ChildState]

    @property
    def all_running(self) -> bool:
        """Whether every child runs and none is being stopped. (Whether they can answer, only they know.)"""
        return not self.draining and all(child.state == "running" for child in self.children.values())


def read_state(path: Path) -> SupervisorState | None:
    """What the supervisor last wrote; None without a supervisor."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=SupervisorState)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def write_order(spec: ProcessSpec, parent: int) -> bytes:
    """The bytes for :func:`read_order`."""
    args = msgspec.to_builtins(dict(spec.args), enc_hook=_encode, builtin_types=(bytes,))
    body = msgspec.msgpack.encode(Order(spec.name, spec.target, args, parent, spec.spawns, spec.log_format))
    return struct.pack(">I", len(body)) + body


def read_order(stream: BinaryIO) -> Order:
    """The order at the head of ``stream``, which stays open.

    Raises:
        SettingsError: the stream ended, or holds something else.
    """
    head = stream.read(4)
    length = struct.unpack(">I", head)[0] if len(head) == 4 else 0
    if not 0 < length <= MAX_ORDER_BYTES:
        raise SettingsError(
            "expected an order on standard input: this is started by the supervisor only",
            "标准输入中应有启动指令：本进程只能由监管进程启动",
        )
    try:
        return msgspec.msgpack.decode(stream.read(length), type=Order)
    except msgspec.MsgspecError as error:
        raise SettingsError(
            f"expected an order on standard input, got: {error}", f"标准输入中应有启动指令，实际为：{error}"
        ) from error


def arguments(function: Callable[..., Any], args: Mapping[str, Any]) -> dict[str, Any]:
    """``args`` as the types that the parameters of ``function`` are annotated with.

    Raises:
        SettingsError: an unknown parameter or a value of another type.
    """
    hints = typing.get_type_hints(function)
    try:
        return {name: msgspec.convert(value, hints[name], dec_hook=_decode) for name, value in args.items()}
    except (KeyError, msgspec.ValidationError) as error:
        raise SettingsError(
            f"expected arguments of {function.__name__}, got: {error}",
            f"{function.__name__} 的参数有误：{error}",
        ) from error


def _encode(value: object) -> object:
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be given to a process")


def _decode(kind: type, value: object) -> object:
    if issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    raise NotImplementedError(f"{kind.__name__} cannot be given to a process")
