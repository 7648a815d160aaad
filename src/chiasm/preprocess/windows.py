"""Parts of a part: squares of a picture, stretches of a sound or a clip.

Held each against what is looked for, they let any model that gives vectors say where in a thing something is
(sliding windows, as in Rowley et al. 1998).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput
from chiasm.modality import Audio, Image, Part, Text, Video
from chiasm.preprocess.places import Box, Span

SCALES = (0.55, 0.37, 0.25)
"""Sides of squares, as shares of a picture's shorter side."""
SECONDS = (1.0, 2.0, 4.0)
MOST = 160
"""Windows of one part; the smallest kind is left out first."""
LEAST = 24
"""Pixels below which a square shows nothing."""
_OVERLAP = 0.5
_SAME = 0.3


class Window(NamedTuple):
    """What lies in a box, as shares of the picture, or in a span, in seconds."""

    part: Part
    box: Box | None = None
    span: Span | None = None


def windows_of(part: Part) -> list[Window]:
    """Overlapping windows of several sizes; a thing too small or too short to be cut is one window.

    Raises:
        InvalidInput: a text.
    """
    match part:
        case Image():
            found = _squares(part.pixels)
            return found or [Window(part, box=(0.0, 0.0, 1.0, 1.0))]
        case Audio():
            return _kinds(part, part.seconds)
        case Video():
            return _kinds(part, part.seconds)
        case Text():
            raise InvalidInput(
                "expected a picture, a sound or a clip to look in, got text",
                "只能在图片、音频或视频中定位，实际为文本",
            )


def apart(windows: Sequence[Window], scores: NDArray[np.floating], most: int) -> list[int]:
    """The best windows that hardly overlap (non-maximum suppression), best first."""
    kept: list[int] = []
    for n in np.argsort(-np.asarray(scores), kind="stable").tolist():
        if len(kept) == most:
            break
        if all(_shared(windows[n], windows[other]) < _SAME for other in kept):
            kept.append(n)
    return kept


def _squares(pixels: NDArray[np.uint8]) -> list[Window]:
    height, width = pixels.shape[:2]
    found: list[Window] = []
    for scale in SCALES:
        side = round(scale * min(height, width))
        few = _starts(min(height, width), side, MOST)
        many = _starts(max(height, width), side, MOST // len(few) - 1)
        tops, lefts = (few, many) if height <= width else (many, few)
        corners = [(left, top) for top in tops for left in lefts]
        if side < LEAST or (found and len(found) + len(corners) > MOST):
            break
        for left, top in corners:
            box = (left / width, top / height, (left + side) / width, (top + side) / height)
            found.append(Window(Image(pixels[top : top + side, left : left + side]), box=box))
    return found


def _starts(length: int, size: int, most: int) -> list[int]:
    """Evenly spaced, from one end to the other, in so many steps at most."""
    steps = min(max(1, round((length - size) / max(1.0, size * _OVERLAP))), most)
    return sorted({round(n * (length - size) / steps) for n in range(steps + 1)})


def _kinds(part: Audio | Video, seconds: float) -> list[Window]:
    found: list[Window] = []
    for length in sorted(SECONDS, reverse=True):
        own = list(_stretches(part, seconds, length))
        if len(found) + len(own) > MOST and found:
            break
        found += own
    return found or [Window(part, span=(0.0, seconds))]


def _stretches(part: Audio | Video, seconds: float, length: float) -> Iterator[Window]:
    rate, count = (part.rate, len(part.samples)) if isinstance(part, Audio) else (part.fps, len(part.frames))
    size = round(length * rate)
    if not 1 <= size < count:
        return
    for start in _starts(count, size, MOST):
        end = start + size
        span = (start / rate, min(end / rate, seconds))
        if isinstance(part, Audio):
            yield Window(Audio(part.samples[start:end], part.rate), span=span)
        else:
            yield Window(Video(part.frames[start:end], part.fps, _sound(part.sound, span)), span=span)


def _sound(track: Audio | None, span: Span) -> Audio | None:
    if track is None:
        return None
    samples = track.samples[round(span[0] * track.rate) : round(span[1] * track.rate)]
    return Audio(samples, track.rate) if len(samples) else None


def _shared(a: Window, b: Window) -> float:
    """Intersection over the smaller one, so that a window within another counts as the same thing."""
    if a.box is not None and b.box is not None:
        across = max(0.0, min(a.box[2], b.box[2]) - max(a.box[0], b.box[0]))
        down = max(0.0, min(a.box[3], b.box[3]) - max(a.box[1], b.box[1]))
        return across * down / max(min(_area(a.box), _area(b.box)), 1e-12)
    assert a.span is not None
    assert b.span is not None
    both = max(0.0, min(a.span[1], b.span[1]) - max(a.span[0], b.span[0]))
    return both / max(min(a.span[1] - a.span[0], b.span[1] - b.span[0]), 1e-12)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
