"""The small picture that stands for a file, or for a moment of it."""

from pathlib import Path

from chiasm.errors import InvalidInput
from chiasm.media import decode, docx_picture, page_picture, probe, segment_at, thumbnail
from chiasm.media.types import DOCX, PDF
from chiasm.modality import Modality, Video
from chiasm.settings import Limits

SECONDS = 6.0  # of sound or video around the moment
FRAMES = 12


def picture_at(path: Path, limits: Limits, side: int, at: float | None, page: int | None = None) -> bytes:
    """WebP of at most ``side`` x ``side`` pixels.

    Args:
        path: a picture, sound, video or document.
        at: seconds from the start; ``None`` for the beginning of a sound and an early frame of a video. Of a
            Word document, the character at which the picture stands; ``None`` for its first.
        page: of a PDF, from 1; ``None`` for the first.

    Raises:
        InvalidInput: a text, which has no picture; a page that there is not.
        UnsupportedMedia: it cannot be decoded.
        TooLarge: beyond one of the limits.
    """
    info = probe(path, limits)
    if info.type == PDF:
        return thumbnail(page_picture(path, limits, page or 1, side=side), side)
    if info.type == DOCX and page is None:
        return thumbnail(docx_picture(path, limits, at=at), side)
    if page is not None:
        raise InvalidInput(
            f"expected a PDF to have a page {page}, got {info.type.mime}",
            f"只有 PDF 才有第 {page} 页，实际为 {info.type.mime}",
            param="page",
        )
    if info.type.modality in {Modality.TEXT, Modality.IMAGE}:
        return thumbnail(decode(path, limits, min_side=side), side)
    if info.type.modality is Modality.AUDIO and at is None:
        return thumbnail(decode(path, limits, seconds=limits.request_media_seconds), side)
    if not at:
        return thumbnail(decode(path, limits, seconds=SECONDS, frames=1), side)
    if info.type.modality is Modality.VIDEO:
        return thumbnail(_frame(path, limits, at, info.seconds), side)
    return thumbnail(segment_at(path, limits, SECONDS, at).part, side)


def _frame(path: Path, limits: Limits, at: float, length: float | None) -> Video:
    """The frame at ``at``: the last of evenly spaced ones of the time up to a little later."""
    upto = at * FRAMES / (FRAMES - 0.5)
    if length is not None:
        upto = min(upto, length)
    clip = decode(path, limits, expect=Modality.VIDEO, seconds=upto, frames=FRAMES)
    assert isinstance(clip, Video)
    return Video(clip.frames[-1:], 1.0)
