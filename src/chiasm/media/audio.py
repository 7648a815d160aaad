"""Sound → mono float32 samples."""

from typing import Any

import numpy as np
import soxr
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from chiasm.errors import TooLarge, UnsupportedMedia
from chiasm.media.bounds import Deadline
from chiasm.media.container import Recording, nothing_in, sound_frames
from chiasm.modality import Audio

_LEGAL = (1000, 768_000)  # Hz that a recording may claim
_KEPT = (8000, 48_000)  # Hz that are kept; others are resampled to the nearer of the two as they come
SLACK = 0.5  # seconds by which encoders' padding may exceed a limit


class SoundReader:
    """Turns decoded frames into mono samples, one by one, in bounded memory.

    ``rate`` is set by the first frame.
    """

    def __init__(self) -> None:
        self.rate = 0
        self._source_rate = 0
        self._resampler: soxr.ResampleStream | None = None

    def feed(self, frame: AudioFrame) -> NDArray[np.float32]:
        """float32 ``[n]`` at ``rate``: the mean of the channels.

        Raises:
            UnsupportedMedia: an absurd rate, a rate that changes, or values that are not numbers.
        """
        if not self._source_rate:
            self._start(frame.sample_rate)
        elif frame.sample_rate != self._source_rate:
            raise UnsupportedMedia(
                f"expected one sampling rate, got {self._source_rate} Hz and then {frame.sample_rate} Hz",
                f"采样率应保持不变，实际由 {self._source_rate} Hz 变为 {frame.sample_rate} Hz",
            )
        samples = _mono(frame)
        if frame.format.name.startswith(("flt", "dbl")) and not np.isfinite(samples).all():
            raise UnsupportedMedia(
                "expected finite samples, got NaN or infinity", "采样应为有限数，实际含有 NaN 或无穷大"
            )
        return samples if self._resampler is None else np.asarray(self._resampler.resample_chunk(samples))

    def flush(self) -> NDArray[np.float32]:
        """What the resampler still holds."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        return np.asarray(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))

    def _start(self, rate: int) -> None:
        if not _LEGAL[0] <= rate <= _LEGAL[1]:
            raise UnsupportedMedia(
                f"expected a sampling rate of {_LEGAL[0]} to {_LEGAL[1]} Hz, got {rate}",
                f"采样率应为 {_LEGAL[0]} 至 {_LEGAL[1]} Hz，实际为 {rate}",
            )
        self._source_rate = rate
        self.rate = min(max(rate, _KEPT[0]), _KEPT[1])
        if self.rate != rate:
            self._resampler = soxr.ResampleStream(rate, self.rate, 1, dtype="float32")


def decode_sound(recording: Recording, deadline: Deadline, seconds: float, *, cut: bool) -> Audio:
    """The sound of an open recording.

    Args:
        recording: with a sound stream.
        deadline: for the wall clock.
        seconds: how much at most.
        cut: take the first ``seconds`` of a longer one instead of refusing it.

    Raises:
        UnsupportedMedia: no sound in it.
        TooLarge: longer than ``seconds``, unless ``cut``.
    """
    if recording.sound is None:
        raise nothing_in(recording.type)
    reader, chunks, count = SoundReader(), [], 0
    for frame in sound_frames(recording, deadline):
        chunks.append(reader.feed(frame))
        count += len(chunks[-1])
        if count > (seconds + SLACK) * reader.rate:
            break
    chunks.append(reader.flush())
    samples = np.concatenate(chunks)
    if not cut and len(samples) > (seconds + SLACK) * reader.rate:
        raise too_long(seconds)
    if cut:
        samples = samples[: round(seconds * reader.rate)]
    if not samples.size:
        raise nothing_in(recording.type)
    return Audio(samples, reader.rate)


def too_long(seconds: float) -> TooLarge:
    """The error for a recording of more than ``seconds``."""
    return TooLarge(
        f"expected a recording of at most {seconds:g} s, got a longer one",
        f"录音或视频最长 {seconds:g} 秒，实际更长",
    )


def _mono(frame: AudioFrame) -> NDArray[np.float32]:
    values: NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by name
        floats: NDArray[np.float32] = values.astype(np.float32)
        if values.dtype == np.uint8:
            floats = (floats - np.float32(128)) / np.float32(128)
        elif values.dtype.kind == "i":
            floats = floats / np.float32(2.0 ** (8 * values.dtype.itemsize - 1))
        return floats[0] if len(floats) == 1 else np.asarray(floats.mean(axis=0), np.float32)
