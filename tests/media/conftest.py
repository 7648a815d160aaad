"""Small real files of every kind, made here."""

import io
import wave
from collections.abc import Callable

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from chiasm.settings import Limits

MakeVideo = Callable[..., bytes]
RATE = 48_000


def picture_file(format_name: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    gradient = np.zeros((size[1], size[0], 3), np.uint8)
    gradient[..., 0] = np.linspace(0, 255, size[0])
    gradient[..., 1] = np.linspace(0, 255, size[1])[:, None]
    buffer = io.BytesIO()
    Pillow.fromarray(gradient).save(buffer, format_name, **options)
    return buffer.getvalue()


def wav_file(seconds: float = 0.5, rate: int = 16_000, channels: int = 1, amplitude: float = 0.5) -> bytes:
    t = np.arange(round(seconds * rate)) / rate
    tone = (amplitude * 32767 * np.sin(2 * np.pi * 440 * t)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(tone, channels).tobytes())
    return buffer.getvalue()


def av_file(
    container: str,
    video: str | None = None,
    audio: str | None = None,
    *,
    seconds: float = 1.0,
    fps: int = 10,
    size: tuple[int, int] = (64, 48),
    rotation: int = 0,
    frequency: float = 440.0,
) -> bytes:
    """A clip whose red channel rises from 0 to 250 and whose left half is blue, with a tone."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        pictures = sound = None
        if video:
            pictures = file.add_stream(video, rate=fps)
            pictures.width, pictures.height = size
            pictures.pix_fmt = "yuv420p"
            pictures.gop_size = fps
            if rotation:
                pictures.set_display_rotation(rotation)
        if audio:
            sound = file.add_stream(audio, rate=RATE)
            sound.layout = "mono"
        count = round(seconds * fps)
        for i in range(count if pictures else 0):
            pixels = np.zeros((size[1], size[0], 3), np.uint8)
            pixels[..., 0] = round(250 * i / max(1, count - 1))
            pixels[:, : size[0] // 2, 2] = 250
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = i
            file.mux(pictures.encode(frame))
        if pictures:
            file.mux(pictures.encode(None))
        if sound:
            encode_tone(file, sound, seconds, frequency)
    return buffer.getvalue()


def encode_tone(file, stream, seconds: float, frequency: float) -> None:
    samples = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)
    for start in range(0, len(samples), 960):
        chunk = samples[start : start + 960]
        frame = av.AudioFrame.from_ndarray(chunk.astype(np.float32)[None], format="fltp", layout="mono")
        frame.rate = RATE
        frame.pts = start
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


@pytest.fixture(scope="session")
def pictures() -> dict[str, bytes]:
    return {
        "image/png": picture_file("PNG"),
        "image/jpeg": picture_file("JPEG"),
        "image/gif": picture_file("GIF"),
        "image/webp": picture_file("WEBP"),
        "image/bmp": picture_file("BMP"),
        "image/avif": picture_file("AVIF"),
    }


@pytest.fixture(scope="session")
def sounds() -> dict[str, bytes]:
    return {
        "audio/wav": wav_file(),
        "audio/flac": av_file("flac", audio="flac"),
        "audio/ogg": av_file("ogg", audio="libopus"),
        "audio/mpeg": av_file("mp3", audio="libmp3lame"),
        "audio/aac": av_file("adts", audio="aac"),
        "audio/mp4": av_file("ipod", audio="aac"),
        "audio/aiff": av_file("aiff", audio="pcm_s16be"),
        "audio/webm": av_file("webm", audio="libopus"),
    }


@pytest.fixture(scope="session")
def videos() -> dict[str, bytes]:
    return {
        "video/mp4": av_file("mp4", "libx264", "aac"),
        "video/quicktime": av_file("mov", "mpeg4", "pcm_s16le"),
        "video/webm": av_file("webm", "libvpx", "libopus"),
        "video/x-matroska": av_file("matroska", "libx264", "aac"),
        "video/x-msvideo": av_file("avi", "mpeg4", "libmp3lame"),
    }


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def make_picture() -> Callable[..., bytes]:
    return picture_file


@pytest.fixture
def make_wav() -> Callable[..., bytes]:
    return wav_file


@pytest.fixture(scope="session")
def make_av() -> Callable[..., bytes]:
    return av_file
