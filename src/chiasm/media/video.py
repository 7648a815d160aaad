"""Video → evenly spaced upright RGB frames and the sound track."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from chiasm.errors import UnsupportedMedia
from chiasm.media.audio import SLACK, too_long
from chiasm.media.bounds import Deadline
from chiasm.media.container import Recording, check_frame, nothing_in, picture_frames
from chiasm.media.sampling import Thinner
from chiasm.settings import Limits

FRAMES = 16  # kept of a clip unless the caller says otherwise
_SHORT_SIDE = 448  # pixels; no model of ours looks at more, and a clip holds many frames
_PIXELS = 1_000_000  # of one kept frame, whatever its shape
_SEQUENTIAL = 24  # source frames per kept frame up to which reading through is faster than seeking

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames ``[n, h, w, 3]`` and the seconds that they cover."""

    frames: Pixels
    seconds: float


class FrameReader:
    """Turns decoded frames into upright RGB of one bounded size, set by the first."""

    def __init__(self, stream: VideoStream, limits: Limits) -> None:
        self._limits = limits
        self._aspect = float(stream.sample_aspect_ratio or 1)
        self._size: tuple[int, int] | None = None
        self._turns = 0
        rate = stream.average_rate or stream.guessed_rate
        self.rate = float(rate) if rate and 0.01 <= rate <= 1000 else 25.0
        # for guesses only; some recorders claim 1000 frames a second
        self.modest_rate = min(self.rate, 30.0)
        self._start: float | None = None
        self._count = 0

    def time(self, frame: VideoFrame) -> float:
        """Seconds since the first frame; to be asked once for each frame."""
        time = frame.time if frame.time is not None else self._count / self.rate
        self._count += 1
        if self._start is None:
            self._start = time
        return max(0.0, time - self._start)

    def pixels(self, frame: VideoFrame) -> Pixels:
        """uint8 ``[h, w, 3]``; raises TooLarge beyond ``limits.video_pixels``."""
        check_frame(frame.width, frame.height, self._limits)
        if self._size is None:
            self._size = _target(frame, self._aspect)
            self._turns = round(frame.rotation / 90) % 4
        width, height = self._size
        array = frame.reformat(
            width=width, height=height, format="rgb24", interpolation="BILINEAR"
        ).to_ndarray()
        return np.ascontiguousarray(np.rot90(array, self._turns))


def decode_pictures(
    recording: Recording, limits: Limits, deadline: Deadline, seconds: float, *, cut: bool, most: int = FRAMES
) -> Clip:
    """At most ``most`` evenly spaced frames of the first ``seconds``.

    Args:
        recording: with pictures.
        limits: ``video_pixels`` is checked before a frame is converted.
        deadline: for the wall clock.
        seconds: how much at most.
        cut: take the first ``seconds`` of a longer one instead of refusing it.
        most: frames.

    Raises:
        UnsupportedMedia: no frame can be decoded.
        TooLarge: longer than ``seconds``, unless ``cut``; or frames that are too large.
    """
    if recording.pictures is None:
        raise nothing_in(recording.type)
    claimed = recording.seconds
    if claimed is not None and not cut and claimed > seconds + SLACK:
        raise too_long(seconds)
    reader = FrameReader(recording.pictures, limits)
    if claimed is not None and min(claimed, seconds) * reader.rate > _SEQUENTIAL * most:
        found = _by_seeking(recording, reader, deadline, min(claimed, seconds), most)
        if found is not None:
            return found
        rewind(recording)
    return _reading_through(recording, reader, deadline, seconds, cut=cut, most=most)


def rewind(recording: Recording) -> None:
    """Back to the start; a file that cannot seek goes on from where it is."""
    try:
        recording.container.seek(0)
    except av.FFmpegError:
        return


def _reading_through(
    recording: Recording, reader: FrameReader, deadline: Deadline, seconds: float, *, cut: bool, most: int
) -> Clip:
    kept: Thinner[Pixels] = Thinner(most, expected=min(recording.seconds or 0, seconds) * reader.modest_rate)
    last = 0.0
    for frame in picture_frames(recording, deadline):
        time = reader.time(frame)
        if time >= seconds + (0 if cut else SLACK):
            if cut:
                break
            raise too_long(seconds)
        last = max(last, time)
        kept.offer(_later(reader, frame))
    return Clip(np.stack(kept.sample()), last + 1 / reader.rate)


def _later(reader: FrameReader, frame: VideoFrame) -> Callable[[], Pixels]:
    return lambda: reader.pixels(frame)


def _by_seeking(
    recording: Recording, reader: FrameReader, deadline: Deadline, length: float, most: int
) -> Clip | None:
    """Jump to the key frame before each wanted time and read on from there: a long video in little time.

    ``None`` if the file cannot seek or its header lied.
    """
    step = length / most
    kept: list[Pixels] = []
    for i in range(most):
        try:
            frame = _frame_near(recording, deadline, (i + 0.5) * step, step / 2)
        except (av.FFmpegError, UnsupportedMedia):
            return None
        kept.append(reader.pixels(frame))
    return Clip(np.stack(kept), length)


def _frame_near(recording: Recording, deadline: Deadline, wanted: float, tolerance: float) -> VideoFrame:
    """The first frame at or after ``wanted - tolerance``, or else the last one."""
    stream = recording.pictures
    assert stream is not None
    assert stream.time_base is not None
    first = stream.start_time or 0
    recording.container.seek(first + int(wanted / stream.time_base), stream=stream)
    earliest = float(first * stream.time_base) + wanted - tolerance
    found = None
    for found in picture_frames(recording, deadline):
        if found.time is None or found.time >= earliest:
            break
    assert found is not None
    return found


def _target(frame: VideoFrame, aspect: float) -> tuple[int, int]:
    """Width and height to convert to: square pixels, bounded."""
    width, height = float(frame.width), float(frame.height)
    if 0.25 <= aspect <= 4:
        width *= aspect
    scale = min(1.0, _SHORT_SIDE / min(width, height), math.sqrt(_PIXELS / (width * height)))
    return max(1, round(width * scale)), max(1, round(height * scale))
