"""Containers that promise or unfold far more than they are: refused at once, or read within bounds."""

import io
import resource
import struct
import time
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from chiasm.errors import ChiasmError
from chiasm.media import decode
from chiasm.settings import Limits

LIMITS = Limits(image_pixels=1_000_000, media_seconds=60.0, decode_seconds=5.0)
SECONDS = 8.0
MEMORY = 400 << 20  # bytes by which the process may have grown at its greatest


def pictures(kind: str, frames: int = 3, side: int = 32) -> bytearray:
    rng = np.random.default_rng(0)
    made = [Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(frames)]
    out = io.BytesIO()
    made[0].save(out, kind, save_all=True, append_images=made[1:])
    return bytearray(out.getvalue())


def gif_of_65535_squared() -> bytes:
    data = pictures("GIF")
    data[6:10] = struct.pack("<HH", 65535, 65535)
    return bytes(data)


def gif_of_20000_frames() -> bytes:
    data = pictures("GIF", 2)
    body = data[data.index(b"\x21\xf9") : -1]
    return bytes(data[:-1] + body * 10_000 + b";")


def apng_of_50000_squared() -> bytes:
    data = pictures("PNG")
    data[16:24] = struct.pack(">II", 50_000, 50_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def png_whose_text_unfolds() -> bytes:
    data = bytes(pictures("PNG", 1))
    text = b"a\0\0" + zlib.compress(b"x" * (200 << 20), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    return data[:33] + chunk + data[33:]


def webp_of_16384_squared() -> bytes:
    data = pictures("WEBP")
    place = data.index(b"VP8X") + 12
    data[place : place + 6] = (16_383).to_bytes(3, "little") * 2
    return bytes(data)


def clip(kind: str) -> bytearray:
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 30 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return bytearray(out.getvalue())


def mkv_that_says_65535_squared() -> bytes:
    data = clip("matroska")
    for identity in (b"\xb0\x81\x40", b"\xba\x81\x30"):  # PixelWidth 64, PixelHeight 48
        place = data.index(identity)
        data[place : place + 3] = identity[:1] + b"\x81\xff"
    return bytes(data)


def mkv_that_says_a_century() -> bytes:
    data = clip("matroska")
    place = data.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes
    data[place : place + 8] = struct.pack(">d", 3.15e12)
    return bytes(data)


def flac(samples: int = 16_000) -> bytearray:
    out = io.BytesIO()
    with av.open(out, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, samples), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return bytearray(out.getvalue())


def flac_that_says_2_to_the_36_samples() -> bytes:
    data = flac()
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    return bytes(data)


def flac_of_an_hour_of_silence() -> bytes:
    return bytes(flac(3600 * 16_000))


def wav_that_says_4_gigabytes() -> bytes:
    head = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    return head + b"data\xff\xff\xff\xff" + b"\0" * 3200


def wav_of_a_wild_rate() -> bytes:
    head = b"RIFF\x24\x0d\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 2**31, 2**31, 2, 16)
    return head + b"data" + struct.pack("<I", 3200) + b"\0" * 3200


BOMBS = [
    gif_of_65535_squared,
    gif_of_20000_frames,
    apng_of_50000_squared,
    png_whose_text_unfolds,
    webp_of_16384_squared,
    mkv_that_says_65535_squared,
    mkv_that_says_a_century,
    flac_that_says_2_to_the_36_samples,
    flac_of_an_hour_of_silence,
    wav_that_says_4_gigabytes,
    wav_of_a_wild_rate,
]
REFUSED = {
    gif_of_65535_squared: "too_large",
    apng_of_50000_squared: "too_large",
    webp_of_16384_squared: "too_large",
    flac_of_an_hour_of_silence: "too_large",
    wav_of_a_wild_rate: None,
}


@pytest.mark.parametrize("make", BOMBS, ids=lambda make: make.__name__)
def test_a_bomb_is_refused_or_read_within_bounds(make) -> None:
    data = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    code = None
    try:
        decode(data, LIMITS)
    except ChiasmError as error:
        code = error.code
    assert time.perf_counter() - begun < SECONDS
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MEMORY
    if make in REFUSED:
        assert code == (REFUSED[make] or code)
        assert code is not None
