"""Sound → log-mel spectrogram."""

import math

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from chiasm.modality import Audio
from chiasm.preprocess.config import AudioPreprocess


class AudioPreprocessor:
    """Cut, resample, bound the peak, and take the log-mel spectrogram. Thread-safe."""

    def __init__(self, config: AudioPreprocess) -> None:
        self.config = config
        window = np.hanning(config.window + 1)[:-1]  # periodic, as for every STFT
        precision = np.float64 if config.decibels else np.float32
        self._window: NDArray[np.floating] = window.astype(precision)
        self._filters: NDArray[np.floating] = mel_filters(config).astype(precision)

    def samples(self, audio: Audio) -> tuple[NDArray[np.float32], float]:
        """The samples at the model's rate, peak at most 1, and the seconds that were cut off the end."""
        config = self.config
        kept = audio.samples[: math.ceil(config.max_seconds * audio.rate)]
        if audio.rate != config.rate:
            kept = soxr.resample(kept, audio.rate, config.rate)
        kept = kept[: round(config.max_seconds * config.rate)]
        least = math.ceil(config.min_seconds * config.rate)
        if config.repeat and 0 < len(kept) < least:
            kept = np.tile(kept, least // len(kept))
        missing = least - len(kept)
        if missing > 0:
            kept = np.pad(kept, (0, missing))
        peak = float(np.abs(kept).max())
        samples = kept / np.float32(peak) if peak > 1 else kept
        return np.asarray(samples, np.float32), max(0.0, audio.seconds - config.max_seconds)

    def log_mel(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 ``[frames, mels]`` with ``1 + n // hop`` frames of ``n`` samples at the model's rate.

        Frame ``i`` is centred at sample ``i * hop``; beyond both ends there is silence, or its mirror image.
        """
        config = self.config
        half = config.window // 2
        padded = np.pad(
            samples, (half, config.window - half), mode="reflect" if config.reflect else "constant"
        )
        frames = sliding_window_view(padded, config.window)[:: config.hop][: 1 + len(samples) // config.hop]
        if config.decibels:  # down to where single precision is all rounding
            frames = frames.astype(np.float64)
        spectrum = np.fft.rfft(frames * self._window, n=config.fft, axis=1)
        mel: NDArray[np.floating] = (spectrum.real**2 + spectrum.imag**2) @ self._filters
        if config.decibels:
            return np.asarray(10 * np.log10(np.maximum(mel, config.floor)), np.float32)
        return np.asarray(np.log(mel + np.float32(config.floor)), np.float32)


def mel_filters(config: AudioPreprocess) -> NDArray[np.float64]:
    """Triangular filters of unit area, ``[fft // 2 + 1, mels]``, on Slaney's mel scale."""
    edges = _mel_to_hz(np.linspace(_hz_to_mel(config.fmin), _hz_to_mel(config.fmax), config.mels + 2))
    bins = np.linspace(0, config.rate / 2, config.fft // 2 + 1)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - lower) / (centre - lower)
    falling = (upper - bins[:, None]) / (upper - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (upper - lower))
    return np.asarray(filters, np.float64)


_LINEAR = 200.0 / 3  # Hz a mel below the break
_BREAK = 1000.0  # Hz above which the scale is logarithmic
_STEP = math.log(6.4) / 27  # natural logarithm of the frequency ratio of one mel above the break


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR if hz < _BREAK else _BREAK / _LINEAR + math.log(hz / _BREAK) / _STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = np.maximum(mel - _BREAK / _LINEAR, 0.0)
    return np.where(above > 0, _BREAK * np.exp(_STEP * above), mel * _LINEAR)
