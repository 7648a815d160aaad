"""Messages survive the way, and nothing else gets through."""

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chiasm.errors import ChiasmError, InvalidInput, TooLarge
from chiasm.serving import wire

# A busy machine is no failure.
quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


class Header(msgspec.Struct):
    name: str
    count: int = 0


ARRAYS = st.sampled_from(sorted(wire.DTYPES)).flatmap(
    lambda name: hnp.arrays(np.dtype(name), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
)


@quick
@given(st.lists(ARRAYS, max_size=4), st.text(max_size=20))
def test_every_dtype_and_shape_comes_back(arrays: list[np.ndarray], name: str) -> None:
    header, back = wire.unpack(wire.pack(Header(name, 3), arrays), Header)
    assert header == Header(name, 3)
    for sent, got in zip(arrays, back, strict=True):
        assert got.dtype == sent.dtype
        np.testing.assert_array_equal(got, sent)


def test_small_arrays_are_copied_and_big_ones_are_not() -> None:
    small, big = np.zeros(10, np.float32), np.zeros(wire.COPY_BELOW, np.uint8)
    _, first, second = wire.pack(Header("x"), [small, big])
    assert isinstance(first, bytes)
    assert np.shares_memory(np.frombuffer(second, np.uint8), big)
    _, (_, view) = wire.unpack(wire.pack(Header("x"), [small, big]), Header)
    assert np.shares_memory(view, big)


def test_strided_arrays_are_packed_in_order() -> None:
    picture = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    _, (back,) = wire.unpack(wire.pack(Header("x"), [picture.transpose(2, 0, 1)]), Header)
    np.testing.assert_array_equal(back, picture.transpose(2, 0, 1))


def test_an_unaligned_big_frame_becomes_aligned() -> None:
    array = np.arange(wire.COPY_BELOW, dtype=np.float32)
    head, body = wire.pack(Header("x"), [array])
    shifted = memoryview(b"\0" + bytes(body))[1:]
    _, (back,) = wire.unpack([head, shifted], Header)
    assert back.flags.aligned
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a"]),
        np.array([object()]),
        np.zeros(2, np.complex64),
        np.zeros(2, ">f4"),
        np.zeros((1,) * 9),
    ],
)
def test_other_arrays_are_not_sent(array: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        wire.pack(Header("x"), [array])


def envelope(header: object, *specs: tuple[str, tuple[int, ...]]) -> bytes:
    return msgspec.msgpack.encode([header, list(specs)])


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        ([], "empty message"),
        ([b""], "well-formed header"),
        ([b"\xc1garbage"], "well-formed header"),
        ([b"\x91" * 5000], "well-formed header"),
        ([envelope({"name": 3})], "well-formed header"),
        ([envelope({"name": "x"}, ("float32", (2,)))], "1 array frames"),
        ([envelope({"name": "x"}), b"extra"], "0 array frames"),
        ([envelope({"name": "x"}, ("float32", (2,))), b"1234567"], "8 bytes"),
        ([envelope({"name": "x"}, ("object", (1,))), b"12345678"], "a dtype among"),
        ([envelope({"name": "x"}, ("O", (1,))), b"12345678"], "a dtype among"),
        ([envelope({"name": "x"}, ("uint8", (-1,))), b""], "dimensions"),
        ([envelope({"name": "x"}, ("uint8", (-2, -2))), b"1234"], "dimensions"),
        ([envelope({"name": "x"}, ("uint8", (1,) * 9)), b"1"], "dimensions"),
        ([envelope({"name": "x"}, ("bool", (1,))), b"\x07"], "bool"),
    ],
)
def test_malformed_messages_raise(frames: list[bytes], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        wire.unpack(frames, Header)
    assert caught.value.code == "malformed_message"


def test_an_announced_giant_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(TooLarge):
        wire.unpack([envelope({"name": "x"}, ("float64", (2**31, 2**31))), b""], Header)


@quick
@given(st.lists(st.binary(max_size=80), max_size=3))
def test_random_frames_raise_our_error_or_decode(frames: list[bytes]) -> None:
    try:
        header, _ = wire.unpack(frames, Header)
    except ChiasmError:
        return
    assert isinstance(header, Header)


@quick
@given(st.data())
def test_a_flipped_byte_never_raises_anything_else(data: st.DataObject) -> None:
    frames = [bytearray(frame) for frame in wire.pack(Header("name", 7), [np.arange(6, dtype=np.int16)])]
    frame = data.draw(st.sampled_from(frames))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        wire.unpack(frames, Header)
    except ChiasmError:
        return
