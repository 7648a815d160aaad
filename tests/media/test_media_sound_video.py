"""Sound and video: averaging, rates, rotation, sampling, stretches, thumbnails."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from chiasm.errors import InvalidInput, TooLarge, UnsupportedMedia
from chiasm.media import decode, segments, thumbnail
from chiasm.media.bounds import Deadline
from chiasm.media.sampling import Thinner, evenly
from chiasm.modality import Audio, Image, Modality, Text, Video


def wav(samples: np.ndarray, rate: int, code: int = 3) -> bytes:
    """A WAV of ``[n, channels]`` samples of any dtype and claimed rate; ``code`` 3 is float, 1 integer."""
    data = samples.tobytes()
    channels, width = samples.shape[1], samples.itemsize
    head = struct.pack("<HHIIHH", code, channels, rate, rate * channels * width, channels * width, 8 * width)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("dtype", "code", "values", "expected"),
    [
        ("<f4", 3, [1.0, 0.0], 0.5),
        ("<f8", 3, [0.5, -0.25], 0.125),
        ("<i2", 1, [16384, 0], 0.25),
        ("<i4", 1, [-(2**31), 0], -0.5),
        ("u1", 1, [192, 128], 0.25),
    ],
)
def test_channels_are_averaged_whatever_the_sample_format(dtype, code, values, expected, limits):
    part = decode(wav(np.tile(np.array(values, dtype), (4000, 1)), 16_000, code), limits)
    assert part.samples.shape == (4000,)
    np.testing.assert_allclose(part.samples, expected, atol=1e-6)


def test_silence_is_sound(limits):
    part = decode(wav(np.zeros((1000, 1), "<i2"), 16_000, 1), limits)
    assert isinstance(part, Audio)
    assert not part.samples.any()


def test_no_samples_are_no_sound(limits):
    with pytest.raises(UnsupportedMedia):
        decode(wav(np.zeros((0, 1), "<i2"), 16_000, 1), limits)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(value, limits):
    samples = np.zeros((1000, 1), "<f4")
    samples[500] = value
    with pytest.raises(UnsupportedMedia, match="finite"):
        decode(wav(samples, 16_000), limits)


@pytest.mark.parametrize("rate", [1, 999, 2_000_000])
def test_absurd_rates_are_refused(rate, limits):
    with pytest.raises(UnsupportedMedia, match="rate"):
        decode(wav(np.zeros((1000, 1), "<i2"), rate, 1), limits)


@pytest.mark.parametrize(
    ("rate", "kept"), [(4000, 8000), (11_025, 11_025), (96_000, 48_000), (384_000, 48_000)]
)
def test_unusual_rates_keep_the_length_and_the_pitch(rate, kept, limits):
    t = np.arange(rate) / rate
    part = decode(wav((0.5 * np.sin(2 * np.pi * 700 * t)).astype("<f4")[:, None], rate), limits)
    assert part.rate == kept
    assert part.seconds == pytest.approx(1, abs=0.01)
    assert np.abs(np.fft.rfft(part.samples)).argmax() / part.seconds == pytest.approx(700, abs=2)


def test_a_long_recording_is_refused_or_cut_as_the_caller_says(limits, make_wav, make_av):
    short = replace(limits, request_media_seconds=2.0)
    sound, video = make_wav(seconds=4), make_av("mp4", "mpeg4", seconds=4)
    for data in (sound, video):
        with pytest.raises(TooLarge, match="at most 2 s"):
            decode(data, short)
        assert decode(data, short, seconds=1.0).seconds == pytest.approx(1.0, abs=0.11)


@pytest.mark.parametrize(
    ("rotation", "shape"), [(0, (48, 64)), (90, (64, 48)), (-90, (64, 48)), (180, (48, 64))]
)
def test_rotation_is_applied(rotation, shape, make_av, limits):
    pixels = decode(make_av("mp4", "mpeg4", rotation=rotation), limits).frames[0]
    assert pixels.shape[:2] == shape
    blue = pixels[..., 2] > 125
    # the left half is blue before a turn of so many degrees counter-clockwise
    expected = np.rot90(np.repeat(np.arange(64)[None] < 32, 48, axis=0), rotation // 90)
    assert (blue == expected).mean() > 0.9


def test_of_a_long_video_evenly_spaced_frames(make_av, limits):
    data = make_av("mp4", "mpeg4", seconds=30.0, fps=20)
    part = decode(data, limits, frames=8)
    assert part.frames.shape[0] == 8
    assert part.seconds == pytest.approx(30, abs=0.2)
    red = part.frames[:, 20, 50, 0].astype(float)
    expected = 250 * (np.arange(8) + 0.5) / 8
    np.testing.assert_allclose(red, expected, atol=250 / 16 + 6)


def test_frames_are_bounded_in_size(make_av, limits):
    data = make_av("mp4", "mpeg4", seconds=0.5, size=(1280, 720))
    assert decode(data, limits).frames.shape[1:3] == (448, 796)
    with pytest.raises(TooLarge, match="1280 x 720"):
        decode(data, replace(limits, video_pixels=900_000))


def test_a_file_with_sound_only_is_sound(make_av, limits):
    for container in ("mp4", "matroska", "webm"):
        data = make_av(container, audio="libopus")
        assert isinstance(decode(data, limits), Audio)


def test_sound_by_stretches(tmp_path, make_wav, limits):
    path = tmp_path / "a.wav"
    path.write_bytes(make_wav(seconds=13.0, rate=8000))
    found = list(segments(path, limits, 6.0))
    assert [(s.start, s.end) for s in found] == [(0, 6), (6, 13)]
    assert [s.part.seconds for s in found] == [6, 7]
    whole = decode(path, limits)
    assert np.array_equal(np.concatenate([s.part.samples for s in found]), whole.samples)


def test_video_by_stretches(tmp_path, make_av, limits):
    path = tmp_path / "a.mp4"
    path.write_bytes(make_av("mp4", "mpeg4", "aac", seconds=8.5))
    found = list(segments(path, limits, 4.0, most_frames=4))
    assert [(s.start, round(s.end, 1)) for s in found] == [(0, 4), (4, 8.5)]
    assert all(isinstance(s.part, Video) and s.part.sound is not None for s in found)
    first, second = (s.part for s in found)
    assert len(first.frames) == len(second.frames) == 4
    assert first.sound.seconds == pytest.approx(4, abs=0.1)
    assert second.sound.seconds == pytest.approx(4.5, abs=0.1)
    assert first.frames[:, 20, 50, 0].max() < second.frames[:, 20, 50, 0].min()


def test_a_short_recording_is_one_stretch(tmp_path, make_wav, make_av, limits):
    (tmp_path / "a.wav").write_bytes(make_wav(seconds=0.3))
    (tmp_path / "a.mp4").write_bytes(make_av("mp4", "mpeg4", seconds=0.3))
    assert [s.start for name in ("a.wav", "a.mp4") for s in segments(tmp_path / name, limits, 6.0)] == [0, 0]


def test_stretches_are_bounded_and_only_of_sound_and_video(tmp_path, make_wav, pictures, limits):
    (tmp_path / "a.wav").write_bytes(make_wav(seconds=5, rate=8000))
    with pytest.raises(TooLarge):
        list(segments(tmp_path / "a.wav", replace(limits, media_seconds=3), 1.0))
    (tmp_path / "a.png").write_bytes(pictures["image/png"])
    with pytest.raises(UnsupportedMedia):
        list(segments(tmp_path / "a.png", limits, 1.0))


def test_thumbnails_are_small_webp(limits, videos, sounds):
    wide = Image(np.full((100, 400, 3), 90, np.uint8))
    for part, size in [(wide, (64, 16)), (decode(videos["video/mp4"], limits), (64, 48))]:
        with Pillow.open(io.BytesIO(thumbnail(part, 64))) as picture:
            assert (picture.format, picture.size) == ("WEBP", size)
    with pytest.raises(InvalidInput):
        thumbnail(Text("a"), 64)
    assert decode(thumbnail(decode(sounds["audio/wav"], limits), 64), limits).modality is Modality.IMAGE


def test_a_waveform_is_tall_where_the_sound_is_loud():
    samples = np.concatenate([np.zeros(8000), np.ones(8000)]).astype(np.float32)
    with Pillow.open(io.BytesIO(thumbnail(Audio(samples, 8000), 100))) as picture:
        ink = np.asarray(picture.convert("L")) < 150
    assert ink[:, 60:95].mean() > 0.9
    assert ink[:, 5:45].mean() < 0.1


@pytest.mark.parametrize("length", [1, 7, 8, 9, 100, 1000])
def test_a_thinned_stream_is_an_even_sample(length):
    thinner = Thinner(8)
    for i in range(length):
        thinner.offer(lambda i=i: i)
    sample = thinner.sample()
    assert len(sample) == min(8, length)
    assert sample == sorted(set(sample))
    if length > 8:
        gaps = np.diff(sample)
        assert gaps.max() <= 2 * gaps.min() + 1
        assert sample[0] <= length / 8
        assert sample[-1] >= length * 6 / 8


def test_evenly_takes_the_middle_of_equal_stretches():
    assert evenly(8, 8) == list(range(8))
    assert evenly(16, 4) == [2, 6, 10, 14]
    assert evenly(3, 4) == [0, 1, 1, 2]


def test_a_deadline_can_begin_anew():
    now = [0.0]
    deadline = Deadline(5.0, clock=lambda: now[0])
    now[0] = 4.9
    deadline.check()
    deadline.restart()
    now[0] = 9.8
    deadline.check()
    now[0] = 10.0
    with pytest.raises(TooLarge, match="5 s"):
        deadline.check()
