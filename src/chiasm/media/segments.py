"""Long recordings and videos by stretches, streaming: an hour never lies in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from chiasm.errors import UnsupportedMedia
from chiasm.media.audio import SLACK, SoundReader, too_long
from chiasm.media.bounds import Deadline, head_of
from chiasm.media.container import Recording, frames, nothing_in, open_recording, sound_frames
from chiasm.media.sampling import Thinner
from chiasm.media.types import sniff
from chiasm.media.video import FRAMES, FrameReader
from chiasm.modality import Audio, Modality, Video
from chiasm.settings import Limits

_TAIL = 0.25  # a last stretch shorter than this part of the others is joined to the one before
_LAG = 5.0  # seconds by which a sound track may come later in the file than its pictures


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch: seconds from the start of the file, and its content."""

    start: float
    end: float
    part: Audio | Video


def segments(path: Path, limits: Limits, seconds: float, *, most_frames: int = FRAMES) -> Iterator[Segment]:
    """The stretches of a recording or video, in order, each ``seconds`` long but for the last.

    Args:
        path: a sound or video file.
        limits: ``media_seconds`` bounds the whole, ``decode_seconds`` each stretch.
        seconds: length of a stretch.
        most_frames: evenly spaced frames of one stretch of video.

    Raises:
        UnsupportedMedia: neither sound nor video, or damaged.
        TooLarge: longer than ``limits.media_seconds``, or too slow to decode.
    """
    kind = sniff(head_of(path, limits))
    if kind.modality not in (Modality.AUDIO, Modality.VIDEO):
        raise UnsupportedMedia(
            f"expected sound or video, got {kind.mime}", f"应为音频或视频，实际为 {kind.mime}"
        )
    deadline = Deadline(limits.decode_seconds)
    with open_recording(path, kind, limits, deadline) as recording:
        if recording.seconds is not None and recording.seconds > limits.media_seconds + SLACK:
            raise too_long(limits.media_seconds)
        stretches = (
            _of_sound(recording, limits, deadline, seconds)
            if recording.pictures is None
            else _of_video(recording, limits, deadline, seconds, most_frames)
        )
        for segment in _join_tail(stretches, seconds):
            yield segment
            deadline.restart()


def segment_at(path: Path, limits: Limits, seconds: float, at: float) -> Segment:
    """The stretch of :func:`segments` that ``at`` (seconds from the start) lies in, or the last one.

    Raises:
        UnsupportedMedia: nothing in it that can be decoded; and as of :func:`segments`.
    """
    found: Segment | None = None
    for segment in segments(path, limits, seconds):
        found = segment
        if segment.end > at:
            break
    if found is None:
        raise nothing_in(sniff(head_of(path, limits)))
    return found


def _of_sound(recording: Recording, limits: Limits, deadline: Deadline, seconds: float) -> Iterator[Segment]:
    reader = SoundReader()
    waiting: list[NDArray[np.float32]] = []
    start = count = 0  # samples: where the waiting ones begin, and how many they are

    def cut(length: int) -> Segment:
        nonlocal start, count
        joined = np.concatenate(waiting)
        waiting[:] = [joined[length:]]
        segment = Segment(
            start / reader.rate, (start + length) / reader.rate, Audio(joined[:length], reader.rate)
        )
        start, count = start + length, count - length
        return segment

    for frame in sound_frames(recording, deadline):
        waiting.append(reader.feed(frame))
        count += len(waiting[-1])
        if start + count > (limits.media_seconds + SLACK) * reader.rate:
            raise too_long(limits.media_seconds)
        while count >= seconds * reader.rate:
            yield cut(round(seconds * reader.rate))
    waiting.append(reader.flush())
    count += len(waiting[-1])
    if count:
        yield cut(count)
    elif not start:
        raise nothing_in(recording.type)


class _Stretch:
    """What has come so far of one stretch of video."""

    def __init__(self, most_frames: int, expected_frames: float) -> None:
        self.pictures: Thinner[NDArray[np.uint8]] = Thinner(most_frames, expected_frames)
        self.sound: list[NDArray[np.float32]] = []


class _Cutter:
    """Sorts frames and samples into stretches, and gives out those that are complete."""

    def __init__(self, recording: Recording, limits: Limits, seconds: float, most_frames: int) -> None:
        assert recording.pictures is not None
        self._limits = limits
        self._seconds = seconds
        self._most = most_frames
        self._pictures = FrameReader(recording.pictures, limits)
        self._sound = SoundReader()
        # a short file fills no stretch, so its own length bounds what to expect
        self._expected_frames = min(seconds, recording.seconds or 0) * self._pictures.modest_rate
        self._waiting: dict[int, _Stretch] = {}
        self._given = 0  # stretches that have been given out
        self._samples = 0
        self._picture_time = 0.0
        self._has_sound = recording.sound is not None

    def feed_picture(self, frame: VideoFrame) -> None:
        """The next frame."""
        time = self._pictures.time(frame)
        if time > self._limits.media_seconds + SLACK:
            raise too_long(self._limits.media_seconds)
        self._picture_time = max(self._picture_time, time)
        stretch = self._at(time)
        if stretch is not None:
            stretch.pictures.offer(self._later(frame))

    def feed_sound(self, samples: NDArray[np.float32] | AudioFrame) -> None:
        """The next samples."""
        chunk = self._sound.feed(samples) if isinstance(samples, AudioFrame) else samples
        if chunk.size:
            stretch = self._at(self._samples / self._sound.rate)
            if stretch is not None:
                stretch.sound.append(chunk)
            self._samples += chunk.size

    def complete(self) -> Iterator[Segment]:
        """The stretches to which nothing can come any more."""
        while self._given in self._waiting and self._is_over((self._given + 1) * self._seconds):
            yield from self._give((self._given + 1) * self._seconds)

    def rest(self) -> Iterator[Segment]:
        """What is left when the file is over."""
        if self._sound.rate:
            self.feed_sound(self._sound.flush())
        end = self._picture_time + 1 / self._pictures.rate
        for index in sorted(self._waiting):
            self._given = index
            yield from self._give(min((index + 1) * self._seconds, max(end, index * self._seconds + 0.1)))

    def _is_over(self, end: float) -> bool:
        heard = self._samples / self._sound.rate if self._sound.rate else 0.0
        if self._picture_time < end:
            return False
        return not self._has_sound or heard >= end or self._picture_time >= end + _LAG

    def _at(self, time: float) -> _Stretch | None:
        index = int(time / self._seconds)
        if index < self._given:
            return None
        if index not in self._waiting:
            self._waiting[index] = _Stretch(self._most, self._expected_frames)
        return self._waiting[index]

    def _give(self, end: float) -> Iterator[Segment]:
        """The stretch; one without pictures (sound that outlasts them) is left out."""
        stretch = self._waiting.pop(self._given)
        start = self._given * self._seconds
        self._given += 1
        kept = stretch.pictures.sample()
        if kept:
            sound = Audio(np.concatenate(stretch.sound), self._sound.rate) if stretch.sound else None
            fps = min(len(kept) / max(end - start, 1e-3), 1000.0)
            yield Segment(start, end, Video(np.stack(kept), fps, sound))

    def _later(self, frame: VideoFrame) -> Callable[[], NDArray[np.uint8]]:
        return lambda: self._pictures.pixels(frame)


def _of_video(
    recording: Recording, limits: Limits, deadline: Deadline, seconds: float, most_frames: int
) -> Iterator[Segment]:
    cutter = _Cutter(recording, limits, seconds, most_frames)
    streams = [s for s in (recording.pictures, recording.sound) if s is not None]
    for frame in frames(recording, streams, deadline):
        if isinstance(frame, AudioFrame):
            cutter.feed_sound(frame)
        else:
            cutter.feed_picture(frame)
            yield from cutter.complete()
    found = False
    for segment in cutter.rest():
        found = True
        yield segment
    if not found:
        raise nothing_in(recording.type)


def _join_tail(stretches: Iterator[Segment], seconds: float) -> Iterator[Segment]:
    """Hold one back, so that a scrap at the end can be joined to it."""
    held: Segment | None = None
    for segment in stretches:
        if held is not None and segment.end - segment.start < _TAIL * seconds:
            held = _joined(held, segment)
            continue
        if held is not None:
            yield held
        held = segment
    if held is not None:
        yield held


def _joined(first: Segment, scrap: Segment) -> Segment:
    """``first`` and the sound of ``scrap``; a scrap of video is too short to show anything new."""
    return replace(first, end=scrap.end, part=_with_sound(first.part, scrap.part, scrap.end - first.start))


def _with_sound(part: Audio | Video, scrap: Audio | Video, seconds: float) -> Audio | Video:
    if isinstance(part, Audio) and isinstance(scrap, Audio):
        return Audio(np.concatenate([part.samples, scrap.samples]), part.rate)
    assert isinstance(part, Video)
    assert isinstance(scrap, Video)
    sound = part.sound
    if sound is not None and scrap.sound is not None:
        sound = Audio(np.concatenate([sound.samples, scrap.sound.samples]), sound.rate)
    return Video(part.frames, len(part.frames) / seconds, sound)
