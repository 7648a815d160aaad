"""Open a sound or video file with FFmpeg (PyAV), guarded: forced format, no other files, bounded time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from chiasm.errors import TooLarge, UnsupportedMedia
from chiasm.media.bounds import Deadline, Guarded, Source, decoding, open_source
from chiasm.media.types import (
    AAC,
    AIFF,
    AVI,
    FLAC,
    M4A,
    MKV,
    MOV,
    MP3,
    MP4,
    OGG,
    OGV,
    SOUND_ONLY,
    WAV,
    WEBM,
    MediaType,
)
from chiasm.settings import Limits

# A forced demuxer: FFmpeg's own guessing would also take playlists, which name other files and addresses.
_DEMUXERS: dict[MediaType, str] = {
    WAV: "wav",
    FLAC: "flac",
    OGG: "ogg",
    OGV: "ogg",
    MP3: "mp3",
    AAC: "aac",
    M4A: "mov",
    MP4: "mov",
    MOV: "mov",
    AIFF: "aiff",
    WEBM: "matroska",
    MKV: "matroska",
    AVI: "avi",
}
_PROBE = {"probesize": str(5 << 20), "analyzeduration": "5000000"}  # bytes and microseconds to look ahead
_BAD_PACKETS = 200  # in a row; a file with so many is not damaged but something else
_THREADS = 2  # of one video's decoder: a server decodes several at once
_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Recording:
    """An open file.

    Attributes:
        container: PyAV's.
        type: sound, if there turned out to be no pictures.
        sound, pictures: the first stream of each kind.
        seconds: the length that the header claims, which may be wrong; ``None`` if it claims nothing.
    """

    container: InputContainer
    type: MediaType
    sound: AudioStream | None
    pictures: VideoStream | None
    seconds: float | None


@contextmanager
def open_recording(
    source: Source, kind: MediaType, limits: Limits, deadline: Deadline
) -> Iterator[Recording]:
    """Open ``source``, which ``sniff`` took for ``kind``.

    Raises:
        UnsupportedMedia: damaged, or without any stream that can be decoded.
        TooLarge: frames larger than ``limits.video_pixels``, or slower to open than the deadline allows.
    """
    with (
        decoding(kind.mime, f" {kind.mime} 文件"),
        Guarded(open_source(source, limits), deadline) as file,
        av.open(
            file,
            format=_DEMUXERS[kind],
            container_options=dict(_PROBE),
            metadata_errors="replace",
            buffer_size=1 << 16,
        ) as container,
    ):
        yield _recording(container, kind, limits)


def frames(
    recording: Recording, streams: Sequence[AudioStream | VideoStream], deadline: Deadline
) -> Iterator[AudioFrame | VideoFrame]:
    """The decoded frames of these streams in the file's order; damaged packets are left out.

    Raises:
        TooLarge: the deadline.
        UnsupportedMedia: nothing but damaged packets.
    """
    failures, decoded = 0, False
    packets = recording.container.demux(*streams)
    while True:
        deadline.check()
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            break  # the file ends in the middle of something: what came before counts
        if packet is None:
            break
        try:
            decoded_frames = packet.decode()
        except av.FFmpegError:
            failures += 1
            if failures > _BAD_PACKETS:
                break
            continue
        for frame in decoded_frames:
            failures, decoded = 0, True
            if isinstance(frame, AudioFrame | VideoFrame):
                yield frame
    if not decoded:
        raise nothing_in(recording.type)


def sound_frames(recording: Recording, deadline: Deadline) -> Iterator[AudioFrame]:
    """The frames of the sound; raises as :func:`frames`."""
    if recording.sound is None:
        raise nothing_in(recording.type)
    return (f for f in frames(recording, [recording.sound], deadline) if isinstance(f, AudioFrame))


def picture_frames(recording: Recording, deadline: Deadline) -> Iterator[VideoFrame]:
    """The frames of the pictures; raises as :func:`frames`."""
    if recording.pictures is None:
        raise nothing_in(recording.type)
    return (f for f in frames(recording, [recording.pictures], deadline) if isinstance(f, VideoFrame))


def nothing_in(kind: MediaType) -> UnsupportedMedia:
    """The error for a file in which nothing can be decoded."""
    return UnsupportedMedia(
        f"expected sound or pictures in the {kind.mime} file, got none that can be decoded",
        f"{kind.mime} 文件中没有可解码的声音或画面",
    )


def check_frame(width: int, height: int, limits: Limits) -> None:
    """Raises TooLarge beyond ``limits.video_pixels``."""
    if width * height > limits.video_pixels:
        raise TooLarge(
            f"expected video frames of at most {limits.video_pixels} pixels, got {width} x {height}",
            f"视频画面最多 {limits.video_pixels} 像素，实际为 {width} x {height}",
        )


def _recording(container: InputContainer, kind: MediaType, limits: Limits) -> Recording:
    sound = next((s for s in container.streams.audio if s.codec_context is not None), None)
    pictures = next(
        (
            s
            for s in container.streams.video
            if s.codec_context is not None and not s.disposition & Disposition.attached_pic
        ),
        None,
    )
    if pictures is not None:
        check_frame(pictures.codec_context.width, pictures.codec_context.height, limits)
        # the size may change in mid-stream: the decoder itself must refuse what we would
        pictures.codec_context.options = {"max_pixels": str(int(limits.video_pixels))}
        pictures.thread_type, pictures.thread_count = "AUTO", _THREADS
    if sound is None and pictures is None:
        raise nothing_in(kind)
    if pictures is None:
        kind = SOUND_ONLY.get(kind, kind)
    return Recording(container, kind, sound, pictures, _seconds(container, pictures or sound))


def _seconds(container: InputContainer, stream: AudioStream | VideoStream | None) -> float | None:
    if container.duration is not None and container.duration > 0:
        return float(container.duration / _US)
    if stream is not None and stream.duration is not None and stream.time_base is not None:
        return max(0.0, float(stream.duration * stream.time_base)) or None
    return None
