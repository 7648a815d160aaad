"""Damaged files: nothing but our own errors comes out, and it comes out soon."""

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chiasm.errors import ChiasmError, InvalidInput, UnsupportedMedia
from chiasm.media import decode, from_base64, probe, segments, sniff
from chiasm.modality import Audio, Image, Text, Video
from chiasm.preprocess.audio import AudioPreprocessor
from chiasm.preprocess.config import AudioPreprocess
from chiasm.settings import Limits

LIMITS = Limits(decode_seconds=5.0, image_pixels=4_000_000, video_pixels=4_000_000)
KINDS = [
    *("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif"),
    *(
        "audio/wav",
        "audio/flac",
        "audio/ogg",
        "audio/mpeg",
        "audio/aac",
        "audio/mp4",
        "audio/aiff",
        "audio/webm",
    ),
    *("video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/x-msvideo"),
]


@pytest.fixture(scope="session")
def files(pictures, sounds, videos) -> dict[str, bytes]:
    return pictures | sounds | videos


def damage(data: bytes, rng: random.Random) -> bytes:
    """Cut off, overwritten, with zeros, with a stretch doubled or left out; most often in the header."""
    array = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 30])):
        reach = rng.choice([min(64, len(array)), min(600, len(array)), len(array)])
        at = rng.randrange(max(1, reach))
        match rng.randrange(6):
            case 0:
                del array[at:]
            case 1:
                array[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                array[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
            case 3:
                array[at:at] = array[at : at + rng.randrange(40)]
            case 4:
                del array[at : at + rng.randrange(40)]
            case _:
                if array:
                    array[at % len(array)] ^= 1 << rng.randrange(8)
    return bytes(array)


def speaks_both_languages(error: ChiasmError) -> None:
    assert error.message("en")
    assert error.message("zh")
    assert error.message("en") != error.message("zh")


def survives(data: bytes) -> None:
    for attempt in (decode, probe):
        try:
            part = attempt(data, LIMITS)
        except ChiasmError as error:
            speaks_both_languages(error)
            continue
        if attempt is decode:
            assert isinstance(part, Text | Image | Audio | Video)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_raise_only_our_errors(kind, files):
    rng = random.Random(kind)
    for _ in range(60 if kind.startswith("video") else 120):
        survives(damage(files[kind], rng))


@pytest.mark.parametrize("kind", KINDS)
def test_files_cut_off_anywhere_raise_only_our_errors(kind, files):
    data = files[kind]
    for tenth in range(0, 10):
        survives(data[: len(data) * tenth // 10 + 1])


@pytest.mark.parametrize("kind", ["audio/wav", "audio/ogg", "video/mp4", "video/webm"])
def test_stretches_of_damaged_files_raise_only_our_errors(kind, files, tmp_path):
    rng = random.Random(kind + "s")
    path = tmp_path / "file"
    for _ in range(20):
        path.write_bytes(damage(files[kind], rng))
        try:
            for segment in segments(path, replace(LIMITS, media_seconds=60.0), 0.4):
                assert segment.end > segment.start
        except ChiasmError as error:
            speaks_both_languages(error)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"RIFF",
            b"ID3",
            b"OggS",
            b"\x1a\x45\xdf\xa3",
            b"\0\0\0\x18ftypisom",
            b"GIF89a",
            b"fLaC",
        ]
    ),
)
def test_noise_raises_only_our_errors(noise, magic):
    survives(magic + noise)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_every_head_is_of_a_known_type_or_refused(head):
    try:
        assert sniff(head).mime
    except UnsupportedMedia as error:
        speaks_both_languages(error)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_bad_base64_is_invalid_input(text):
    try:
        assert isinstance(from_base64(text, LIMITS), bytes)
    except InvalidInput as error:
        speaks_both_languages(error)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=300))
def test_any_finite_sound_has_a_finite_spectrogram(values):
    import numpy as np

    prepare = AudioPreprocessor(AudioPreprocess())
    samples, _ = prepare.samples(Audio(np.asarray(values, np.float32), 16_000))
    assert np.isfinite(prepare.log_mel(samples)).all()
