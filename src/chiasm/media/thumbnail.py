"""A small WebP that stands for a part on a page."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from chiasm.errors import InvalidInput
from chiasm.modality import Audio, Image, Part, Text, Video

_QUALITY = 80
_INK = np.array((58, 92, 142), np.uint8)
_PAPER = np.array((244, 246, 249), np.uint8)
_QUANTILE = 0.05  # of the columns may reach the edge, so that one click does not flatten the rest


def thumbnail(part: Part, side: int) -> bytes:
    """WebP of at most ``side`` x ``side`` pixels: the picture, a video's middle frame, a sound's waveform.

    Raises:
        InvalidInput: a text, which has no picture; or a side outside [8, 4096].
    """
    if not 8 <= side <= 4096:
        raise InvalidInput(
            f"expected a side of 8 to 4096 pixels, got {side}",
            f"边长应为 8 至 4096 像素，实际为 {side}",
            param="side",
        )
    match part:
        case Image():
            pixels = part.pixels
        case Video():
            pixels = part.frames[len(part.frames) // 2]
        case Audio():
            pixels = waveform(part.samples, side, max(8, side // 2))
        case Text():
            raise InvalidInput(
                "expected a picture, sound or video, got text", "应为图片、音频或视频，实际为文本"
            )
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Pillow.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=2)
    return buffer.getvalue()


def waveform(samples: NDArray[np.float32], width: int, height: int) -> NDArray[np.uint8]:
    """The envelope of ``samples`` in ``width`` columns of pixels: uint8 ``[height, width, 3]``."""
    edges = np.linspace(0, len(samples), width + 1).astype(np.intp)[:-1]
    loudness = np.maximum.reduceat(np.abs(samples), np.minimum(edges, len(samples) - 1))
    full = float(np.quantile(loudness, 1 - _QUANTILE)) or 1.0
    reach = np.clip(loudness / full, 0.0, 1.0) * (height / 2 - 1)
    distance = np.abs(np.arange(height) - (height - 1) / 2)[:, None]
    inside = distance <= np.maximum(reach, 0.5)
    return np.where(inside[..., None], _INK, _PAPER)
