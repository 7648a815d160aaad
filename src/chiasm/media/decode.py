"""One file → one part."""

from dataclasses import dataclass

from chiasm.errors import TooLarge, UnsupportedMedia
from chiasm.media.audio import decode_sound
from chiasm.media.bounds import Deadline, Source, bytes_of, head_of
from chiasm.media.container import open_recording
from chiasm.media.documents import document_part
from chiasm.media.image import decode_image, image_size
from chiasm.media.types import DOCUMENTS, MediaType, sniff
from chiasm.media.video import FRAMES, decode_pictures
from chiasm.modality import Audio, Modality, Part, Text, Video
from chiasm.settings import Limits


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a file says about itself; ``width`` and ``height`` in pixels, upright."""

    type: MediaType
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


def decode(
    data: Source,
    limits: Limits,
    *,
    expect: Modality | None = None,
    seconds: float | None = None,
    min_side: int | None = None,
    frames: int = FRAMES,
) -> Part:
    """Decode one file; of a document, its words or, where it has none, its first page.

    Args:
        data: its bytes or where it lies.
        limits: bounds on size, pixels, length and time.
        expect: the modality that was announced. ``AUDIO`` also takes the sound of a video.
        seconds: take this much of a longer sound or video. Without it, one that is longer than
            ``limits.request_media_seconds`` is refused.
        min_side: a shorter side that is enough for the caller; large JPEGs then decode faster.
        frames: how many evenly spaced frames to take of a video at most.

    Raises:
        UnsupportedMedia: not media, damaged, or not what was expected.
        TooLarge: beyond one of the limits.
        NotFound: no such file.
        InvalidInput: a path that is not a readable file.
    """
    kind = sniff(head_of(data, limits))
    if kind in DOCUMENTS:
        _check_expected(kind, expect)
        return document_part(data, kind, limits)
    if kind.modality is Modality.TEXT:
        _check_expected(kind, expect)
        return decode_text(bytes_of(data, limits), limits)
    if kind.modality is Modality.IMAGE:
        _check_expected(kind, expect)
        return decode_image(bytes_of(data, limits), limits, min_side)
    deadline = Deadline(limits.decode_seconds)
    with open_recording(data, kind, limits, deadline) as recording:
        if expect is not None and not (expect is Modality.AUDIO and recording.sound is not None):
            _check_expected(recording.type, expect)
        bound = limits.request_media_seconds if seconds is None else seconds
        if recording.pictures is None or expect is Modality.AUDIO:
            return decode_sound(recording, deadline, bound, cut=seconds is not None)
        clip = decode_pictures(
            recording, limits, deadline, bound, cut=seconds is not None, most=max(1, frames)
        )
        has_sound = recording.sound is not None
    sound = _sound_of_video(data, kind, limits, deadline, min(bound, clip.seconds)) if has_sound else None
    fps = min(max(len(clip.frames) / max(clip.seconds, 1e-3), 1e-6), 1000.0)
    return Video(clip.frames, fps, sound)


def decode_text(data: bytes, limits: Limits) -> Text:
    """UTF-8 text, with or without a byte order mark.

    Raises:
        UnsupportedMedia: bytes that are not UTF-8.
        TooLarge: more than ``limits.text_chars`` characters.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnsupportedMedia(
            f"expected UTF-8 text, got another byte at position {error.start}",
            f"应为 UTF-8 文本，实际在第 {error.start} 字节处不符",
        ) from error
    return checked_text(text, limits)


def checked_text(text: str, limits: Limits) -> Text:
    """A text part; raises TooLarge beyond ``limits.text_chars``."""
    if len(text) > limits.text_chars:
        raise TooLarge(
            f"expected a text of at most {limits.text_chars} characters, got {len(text)}",
            f"文本最多 {limits.text_chars} 个字符，实际为 {len(text)} 个",
        )
    return Text(text)


def probe(data: Source, limits: Limits) -> MediaInfo:
    """Type, size and length as the header has them; raises as :func:`decode`."""
    kind = sniff(head_of(data, limits))
    if kind.modality is Modality.TEXT:
        return MediaInfo(kind)
    if kind.modality is Modality.IMAGE:
        return MediaInfo(kind, *image_size(bytes_of(data, limits), limits))
    with open_recording(data, kind, limits, Deadline(limits.decode_seconds)) as recording:
        if recording.pictures is None:
            return MediaInfo(recording.type, seconds=recording.seconds)
        context = recording.pictures.codec_context
        return MediaInfo(recording.type, context.width, context.height, recording.seconds)


def _sound_of_video(
    data: Source, kind: MediaType, limits: Limits, deadline: Deadline, seconds: float
) -> Audio | None:
    """The sound under the pictures; a clip whose track cannot be decoded is a silent clip."""
    try:
        with open_recording(data, kind, limits, deadline) as recording:
            return decode_sound(recording, deadline, seconds, cut=True)
    except UnsupportedMedia:
        return None


def _check_expected(kind: MediaType, expect: Modality | None) -> None:
    if expect is not None and kind.modality is not expect:
        raise UnsupportedMedia(
            f"expected {expect.value}, got {kind.modality.value} ({kind.mime})",
            f"应为 {expect.value}，实际为 {kind.modality.value}（{kind.mime}）",
        )
