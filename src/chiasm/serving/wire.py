"""Messages between our processes: one msgpack header frame, then one raw frame for each array.

Nothing on the wire can name a type or a function: a header is decoded into a type that the reader names,
an array into one of a dozen numeric dtypes, so that a malformed message raises and does nothing else.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput, TooLarge

Array = NDArray[Any]
Frame = bytes | bytearray | memoryview

DTYPES = frozenset(
    {"bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"}
    | {"float16", "float32", "float64"}
)
MAX_DIMENSIONS = 8
MAX_ARRAYS = 16_384
MAX_FRAME_BYTES = 1 << 30
COPY_BELOW = 64 << 10  # copying is cheaper than sharing a buffer up to about this size


class _ArraySpec(msgspec.Struct, array_like=True, frozen=True):
    dtype: str
    shape: tuple[int, ...]


class _Envelope(msgspec.Struct, array_like=True, frozen=True):
    header: msgspec.Raw
    arrays: list[_ArraySpec]


_ENCODER = msgspec.msgpack.Encoder()
_ENVELOPES = msgspec.msgpack.Decoder(_Envelope)


def pack(header: object, arrays: Sequence[Array] = ()) -> list[Frame]:
    """Frames of one message. Big arrays are not copied: leave them unchanged until the message is sent.

    Raises:
        InvalidInput: a dtype outside ``DTYPES``, too many arrays or too many dimensions.
        TooLarge: an array or a header of more than ``MAX_FRAME_BYTES``.
    """
    plain = [np.ascontiguousarray(array).reshape(np.shape(array)) for array in arrays]
    specs = [_ArraySpec(array.dtype.name, array.shape) for array in plain]
    _check_count(len(specs))
    for spec, array in zip(specs, plain, strict=True):
        if not array.dtype.isnative:
            raise _malformed("an array in native byte order", f"{array.dtype.str}", "本机字节序的数组")
        _check_spec(spec)
    head = _ENCODER.encode(_Envelope(msgspec.Raw(_ENCODER.encode(header)), specs))
    if len(head) > MAX_FRAME_BYTES:
        raise _too_large(len(head))
    return [head, *(_raw(array) for array in plain)]


def unpack(frames: Sequence[Frame], kind: Any) -> tuple[Any, list[Array]]:
    """The header, as ``kind``, and the arrays of one message.

    Small arrays are copies; big ones look into their frame.

    Raises:
        InvalidInput: anything that :func:`pack` would not have written.
    """
    if not frames:
        raise _malformed("a header frame", "an empty message", "头部帧")
    try:
        envelope = _ENVELOPES.decode(frames[0])
        header = _decoder(kind).decode(envelope.header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed("a well-formed header", str(error), "格式正确的头部") from error
    bodies = frames[1:]
    _check_count(len(envelope.arrays))
    if len(bodies) != len(envelope.arrays):
        raise _malformed(
            f"{len(envelope.arrays)} array frames", str(len(bodies)), f"{len(envelope.arrays)} 个数组帧"
        )
    return header, [_array(spec, body) for spec, body in zip(envelope.arrays, bodies, strict=True)]


@lru_cache(maxsize=32)
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def _raw(array: Array) -> Frame:
    if array.nbytes < COPY_BELOW:
        return array.tobytes()
    return array.reshape(-1).view(np.uint8).data


def _array(spec: _ArraySpec, body: Frame) -> Array:
    _check_spec(spec)
    dtype = np.dtype(spec.dtype)
    expected = prod(spec.shape) * dtype.itemsize
    size = memoryview(body).nbytes
    if size != expected:
        raise _malformed(
            f"{expected} bytes for {spec.dtype} {list(spec.shape)}",
            str(size),
            f"{spec.dtype} {list(spec.shape)} 需要 {expected} 字节",
        )
    if spec.dtype == "bool" and np.frombuffer(body, np.uint8).max(initial=0) > 1:
        raise _malformed("bool bytes of 0 or 1", "another value", "取值为 0 或 1 的布尔字节")
    array = np.frombuffer(body, dtype).reshape(spec.shape)
    # A frame may begin at any address: kernels want aligned data.
    return array if size >= COPY_BELOW and array.flags.aligned else array.copy()


def _check_count(count: int) -> None:
    if count > MAX_ARRAYS:
        raise _malformed(f"at most {MAX_ARRAYS} arrays", str(count), f"最多 {MAX_ARRAYS} 个数组")


def _check_spec(spec: _ArraySpec) -> None:
    if spec.dtype not in DTYPES:
        raise _malformed(
            f"a dtype among {', '.join(sorted(DTYPES))}",
            repr(spec.dtype[:40]),
            f"下列数据类型之一：{'、'.join(sorted(DTYPES))}",
        )
    if len(spec.shape) > MAX_DIMENSIONS or any(n < 0 for n in spec.shape):
        raise _malformed(
            f"at most {MAX_DIMENSIONS} dimensions of at least 0",
            str(list(spec.shape)[:16]),
            f"最多 {MAX_DIMENSIONS} 维，且每维不小于 0",
        )
    size = prod(spec.shape) * np.dtype(spec.dtype).itemsize
    if size > MAX_FRAME_BYTES:
        raise _too_large(size)


def _malformed(expected: str, got: str, expected_zh: str) -> InvalidInput:
    return InvalidInput(
        f"expected {expected}, got {got}", f"消息应包含{expected_zh}，实际为 {got}", code="malformed_message"
    )


def _too_large(size: int) -> TooLarge:
    return TooLarge(
        f"expected a frame of at most {MAX_FRAME_BYTES} bytes, got {size}",
        f"单帧不得超过 {MAX_FRAME_BYTES} 字节，实际为 {size}",
    )
