"""Files made to cost more than they weigh: each is refused by name, or costs what its limits allow."""

import io
import struct
import zlib
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from chiasm.errors import InvalidInput, TooLarge, UnsupportedMedia
from chiasm.media import decode, from_base64
from chiasm.modality import Audio, Url, Video

SMALL = (16, 12)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *before: bytes, pixels: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(pixels, 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + data + chunk(b"IEND", b"")


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    head = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + bytes(6)
    return head + b",\0\0\0\0" + struct.pack("<HH", *frame) + b"\0\x02\x02L\x01\0;"


def animation(format_name: str, frames: int) -> bytes:
    pictures = [Pillow.new("RGB", SMALL, (i % 250, 0, 0)) for i in range(frames)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, format_name, save_all=True, append_images=pictures[1:], duration=1)
    return buffer.getvalue()


def flac(seconds: int, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as file:
        stream = file.add_stream("flac", rate=rate)
        stream.layout = "mono"
        for i in range(seconds):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, rate), np.int16), format="s16", layout="mono")
            frame.rate, frame.pts = rate, i * rate
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        png(10_000, 10_000),
        png(2**31 - 1, 2**31 - 1),
        png(50_001, 1000),
        gif((65_535, 65_535), (1, 1)),
        gif((1, 1), (65_535, 65_535)),
    ],
    ids=["100 megapixels", "largest", "just too many", "gif screen", "gif frame"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_headers_of_too_many_pixels_are_refused_before_anything_is_decoded(data, limits):
    with pytest.raises(TooLarge, match=r"at most 50000000 pixels, got \d+( x \d+| pixels)$"):
        decode(data, limits)


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_a_text_or_profile_that_inflates_without_end_is_refused(name, limits):
    bomb = chunk(name, b"a\0\0" + zlib.compress(bytes(80 << 20), 9))
    with pytest.raises(UnsupportedMedia):
        decode(png(*SMALL, bomb, pixels=bytes((SMALL[0] * 3 + 1) * SMALL[1])), limits)


def test_pixels_beyond_those_announced_are_never_inflated(limits):
    assert decode(png(*SMALL, pixels=bytes(80 << 20)), limits).pixels.shape == (12, 16, 3)


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP"])
def test_of_a_thousand_frames_one_is_decoded(format_name, limits):
    assert decode(animation(format_name, 1000), limits).pixels.shape == (12, 16, 3)


def test_an_hour_of_silence_in_a_small_file_is_refused_or_cut(limits):
    data = flac(3600)
    assert len(data) < 1 << 20
    with pytest.raises(TooLarge, match="at most 300 s"):
        decode(data, limits)
    assert decode(data, limits, seconds=2.0).seconds == pytest.approx(2.0)


def test_large_frames_in_a_small_video_are_refused(make_av, limits):
    data = make_av("matroska", "mpeg4", seconds=1.0, size=(1920, 1080))
    with pytest.raises(TooLarge, match="1920 x 1080"):
        decode(data, replace(limits, video_pixels=1_000_000))


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska", "webm", "avi"])
def test_a_video_without_frames_is_refused(container, make_av, limits):
    data = make_av(container, "libvpx" if container == "webm" else "mpeg4", seconds=0.0)
    with pytest.raises(UnsupportedMedia):
        decode(data or b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", limits)


def test_messages_hold_no_addresses_and_no_numbers_of_libraries(pictures, limits):
    for data in (pictures["image/avif"][:300], b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"):
        with pytest.raises(UnsupportedMedia) as caught:
            decode(data, limits)
        for text in ("0x", "BytesIO", "Errno", "none"):
            assert text not in caught.value.en


@pytest.mark.parametrize("text", ["图" * 9, "AAA图"])
def test_base64_of_other_letters_names_their_place(text, limits):
    with pytest.raises(InvalidInput, match=f"not ASCII at position {text.index('图')}"):
        from_base64(text, limits)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Audio(np.full(9, np.nan, np.float32), 16_000),
        lambda: Audio(np.full(9, 1e300), 16_000),
        lambda: Audio(np.zeros(9, np.float32), "16000"),
        lambda: Audio(np.zeros(9, np.float32), float("nan")),
        lambda: Audio(np.zeros(9, np.float32), None),
        lambda: Video(np.zeros((1, 2, 2, 3), np.uint8), "25"),
        lambda: Video(np.zeros((1, 2, 2, 3), np.uint8), float("nan")),
        lambda: Url(b"http://example.org/"),
        lambda: Url(None),
    ],
)
def test_parts_of_wrong_types_and_numbers_are_invalid_input(make):
    with pytest.raises(InvalidInput, match="expected"):
        make()
