"""The log-mel spectrogram against formulas written out in float64."""

import numpy as np
import pytest

from chiasm.modality import Audio
from chiasm.preprocess import AudioPreprocess
from chiasm.preprocess.audio import AudioPreprocessor, mel_filters

CONFIG = AudioPreprocess()


def slow_log_mel(samples: np.ndarray, config: AudioPreprocess) -> np.ndarray:
    """One frame, one bin and one band at a time: a direct Fourier sum, and triangles from the mel formula."""

    def to_hz(mel):
        return 200 / 3 * mel if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    def to_mel(hz):
        return hz * 3 / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)

    low, high = to_mel(config.fmin), to_mel(config.fmax)
    edges = [to_hz(low + (high - low) * i / (config.mels + 1)) for i in range(config.mels + 2)]
    k = np.arange(config.fft // 2 + 1)
    n = np.arange(config.window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / config.window)
    fourier = np.exp(-2j * np.pi * np.outer(k, n) / config.fft)
    rows = []
    for centre in range(0, len(samples) + 1, config.hop):
        frame = np.zeros(config.window)
        for j in range(config.window):
            at = centre - config.window // 2 + j
            if 0 <= at < len(samples):
                frame[j] = samples[at]
        power = np.abs(fourier @ (hann * frame)) ** 2
        row = []
        for b in range(config.mels):
            left, middle, right = edges[b : b + 3]
            hz = k * config.rate / config.fft
            triangle = np.interp(hz, [left, middle, right], [0, 1, 0], left=0, right=0)
            row.append(np.log((triangle * 2 / (right - left) * power).sum() + config.floor))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("length", [8000, 8123])
def test_log_mel_is_the_formula(length):
    rng = np.random.default_rng(length)
    t = np.arange(length) / CONFIG.rate
    samples = (0.3 * np.sin(2 * np.pi * (200 + 900 * t) * t) + 0.05 * rng.standard_normal(length)).astype(
        np.float32
    )
    got = AudioPreprocessor(CONFIG).log_mel(samples)
    expected = slow_log_mel(samples, CONFIG)
    assert got.dtype == np.float32
    assert got.shape == expected.shape == (1 + length // 200, 64)
    np.testing.assert_allclose(got, expected, atol=2e-3)


def test_every_band_has_bins_and_unit_area():
    filters = mel_filters(CONFIG)
    assert filters.shape == (513, 64)
    width = CONFIG.rate / CONFIG.fft
    assert (filters.max(axis=0) > 0).all()
    np.testing.assert_allclose(filters[:, 32:].sum(axis=0) * width, 1, atol=0.02)


def test_a_tone_lies_in_the_band_around_it():
    t = np.arange(16_000) / 16_000
    mel = AudioPreprocessor(CONFIG).log_mel(np.sin(2 * np.pi * 1000 * t).astype(np.float32))
    loudest = mel[20:60].mean(axis=0).argmax()
    centres = (mel_filters(CONFIG) * np.linspace(0, 8000, 513)[:, None]).sum(0) / mel_filters(CONFIG).sum(0)
    assert abs(centres[loudest] - 1000) < 60


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000, 192_000])
def test_the_rate_of_the_recording_does_not_matter(rate):
    def at(r: int) -> np.ndarray:
        t = np.arange(r) / r
        prepare = AudioPreprocessor(CONFIG)
        return prepare.log_mel(
            prepare.samples(Audio((0.5 * np.sin(2 * np.pi * 500 * t)).astype(np.float32), r))[0]
        )

    band = at(16_000)[20:60].mean(axis=0).argmax()
    np.testing.assert_allclose(at(rate)[20:60, band], at(16_000)[20:60, band], atol=0.02)


def test_long_sound_is_cut_and_says_so():
    samples, cut = AudioPreprocessor(CONFIG).samples(Audio(np.full(12 * 8000, 0.1, np.float32), 8000))
    assert len(samples) == 160_000
    assert cut == pytest.approx(2.0)


@pytest.mark.parametrize("length", [1, 7, 300])
def test_a_very_short_sound_is_followed_by_silence(length):
    samples, cut = AudioPreprocessor(CONFIG).samples(Audio(np.full(length, 0.1, np.float32), 48_000))
    assert len(samples) == 8000
    assert cut == 0
    assert not samples[4000:].any()


def test_only_a_peak_beyond_one_is_brought_down():
    prepare = AudioPreprocessor(CONFIG)
    loud = np.zeros(16_000, np.float32)
    loud[100] = 4.0
    assert prepare.samples(Audio(loud, 16_000))[0].max() == 1.0
    quiet = loud / 8
    assert np.array_equal(prepare.samples(Audio(quiet, 16_000))[0], quiet)
