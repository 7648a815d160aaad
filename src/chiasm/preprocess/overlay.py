"""A picture of where a model looked: weights over a picture, the frames of a clip, or a sound's waveform."""

import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from chiasm.errors import InvalidInput
from chiasm.media.thumbnail import waveform
from chiasm.modality import Audio, Image, Part, Text, Video
from chiasm.preprocess.places import Box, Span

SIDE = 1024
_COLUMNS = 4
_GAP = 2  # pixels between frames
_GRID = 128  # cells across, in which weights are added up before they are smoothed
_HEAT = np.array(
    [(13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33)], np.float64
)  # from little to much
_VEIL = (0.25, 0.7)
"""How much of a colour lies over the picture where there is least and where there is most weight."""
_QUANTILE = 0.995


class Weighed(Protocol):
    """A place and how much it matters: ``Spot``."""

    @property
    def weight(self) -> float: ...
    @property
    def box(self) -> Box | None: ...
    @property
    def span(self) -> Span | None: ...


def overlay(part: Part, spots: Sequence[Weighed], *, side: int = SIDE) -> bytes:
    """PNG of a part, coloured from blue (little) to yellow (much) by the weight that lies there.

    Args:
        part: a picture; a clip, whose frames are shown in rows; a sound, whose waveform is.
        spots: of that part.
        side: the picture's longer one, in pixels, at most.

    Raises:
        InvalidInput: a text, which has no picture.
    """
    match part:
        case Image():
            shown = _heated(_fitted(part.pixels, side), _field(spots))
        case Video():
            shown = _strip(part, spots, side)
        case Audio():
            shown = _heated(waveform(part.samples, side, side // 4).copy(), _over_time(spots, part.seconds))
        case Text():
            raise InvalidInput(
                "expected a picture, a sound or a clip to draw on, got text",
                "只能在图片、音频或视频上绘制，实际为文本",
            )
    buffer = io.BytesIO()
    Pillow.fromarray(shown).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _strip(clip: Video, spots: Sequence[Weighed], side: int) -> NDArray[np.uint8]:
    """Frames row by row; each as dark or bright as it deserves beside the others."""
    columns = min(_COLUMNS, len(clip.frames))
    frames = [_fitted(frame, side // columns - _GAP) for frame in clip.frames]
    spans = sorted({spot.span for spot in spots if spot.span is not None})
    fields = []
    for n in range(len(frames)):
        moment = (n + 0.5) / clip.fps
        own = [spot for spot in spots if spot.span is not None and spot.span == _nearest(spans, moment)]
        fields.append(_field(own))
    top = max((float(np.quantile(field, _QUANTILE)) for field in fields), default=0.0)
    heated = [_heated(frame, field, top) for frame, field in zip(frames, fields, strict=True)]
    height, width = heated[0].shape[:2]
    rows, down, across = -(-len(heated) // columns), height + _GAP, width + _GAP
    sheet = np.full((rows * down - _GAP, columns * across - _GAP, 3), 255, np.uint8)
    for n, one in enumerate(heated):
        row, column = divmod(n, columns)
        sheet[row * down : row * down + height, column * across : column * across + width] = one
    return sheet


def _nearest(spans: Sequence[Span], moment: float) -> Span | None:
    return min(spans, key=lambda span: abs((span[0] + span[1]) / 2 - moment), default=None)


def _field(spots: Sequence[Weighed]) -> NDArray[np.float64]:
    """Weight by area, ``[grid, grid]``."""
    field = np.zeros((_GRID, _GRID))
    for spot in spots:
        if spot.box is not None:
            left, top, right, bottom = (round(edge * _GRID) for edge in spot.box)
            area = field[top : max(bottom, top + 1), left : max(right, left + 1)]
            if area.size:
                area += spot.weight / area.size
    return field


def _over_time(spots: Sequence[Weighed], seconds: float) -> NDArray[np.float64]:
    """Weight by time, ``[1, grid]``."""
    field = np.zeros((1, _GRID))
    for spot in spots:
        if spot.span is not None and seconds:
            start, end = (round(edge / seconds * _GRID) for edge in spot.span)
            area = field[:, start : max(end, start + 1)]
            if area.size:
                area += spot.weight / area.size
    return field


def _heated(
    pixels: NDArray[np.uint8], field: NDArray[np.float64], top: float | None = None
) -> NDArray[np.uint8]:
    """Pixels ``[h, w, 3]`` with a field over them, smoothed; ``top``: the weight of the brightest colour."""
    height, width = pixels.shape[:2]
    top = float(np.quantile(field, _QUANTILE)) if top is None else top
    shares = np.clip(field / top, 0.0, 1.0) if top > 0 else field
    smooth = Pillow.fromarray((255 * shares).astype(np.uint8)).resize(
        (width, height), Pillow.Resampling.BICUBIC
    )
    warmth = np.asarray(smooth, np.float64)[..., None] / 255
    place = warmth[..., 0] * (len(_HEAT) - 1)
    low = np.minimum(place.astype(np.intp), len(_HEAT) - 2)
    colour = _HEAT[low] + (place - low)[..., None] * (_HEAT[low + 1] - _HEAT[low])
    veil = _VEIL[0] + (_VEIL[1] - _VEIL[0]) * warmth
    return np.asarray((1 - veil) * pixels + veil * colour).round().astype(np.uint8)


def _fitted(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Pillow.Resampling.BICUBIC)
    return np.asarray(picture)
