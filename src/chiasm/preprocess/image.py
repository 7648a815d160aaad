"""Picture → ``side`` x ``side`` uint8 pixels, or a bounded rectangle. Normalisation happens on the device."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from chiasm.preprocess.config import Filter, ImagePreprocess
from chiasm.preprocess.places import Box

_FILTERS: dict[Filter, Pillow.Resampling] = {
    "nearest": Pillow.Resampling.NEAREST,
    "box": Pillow.Resampling.BOX,
    "bilinear": Pillow.Resampling.BILINEAR,
    "hamming": Pillow.Resampling.HAMMING,
    "bicubic": Pillow.Resampling.BICUBIC,
    "lanczos": Pillow.Resampling.LANCZOS,
}
_TOLERANCE = 6  # levels within which a border counts as one colour: above JPEG noise, below any gradient
_CONTRAST = 12  # levels from the border's colour at which content begins
_MARGIN = 0.04  # of the content's longer side, kept around it
_SPECK = 0.05  # content smaller than this part of the picture is taken for dust, not for the subject


class ImagePreprocessor:
    """Trim, fit and resize one picture. Thread-safe."""

    def __init__(self, config: ImagePreprocess) -> None:
        self.config = config
        self._filter = _FILTERS[config.filter]

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 ``[h, w, 3]`` → uint8 ``[side, side, 3]``; with ``bounded`` and ``whole`` of other sides."""
        side = self.config.side
        if self.config.trim:
            pixels = trim(pixels)
        height, width = pixels.shape[:2]
        picture = Pillow.fromarray(np.ascontiguousarray(pixels))
        if self.config.fit == "pad" and height != width:
            return np.asarray(self._padded(picture))
        if self.config.fit == "shortest":
            return np.asarray(self._cut(picture))
        if self.config.fit == "bounded":
            return np.asarray(picture.resize(self._bounded(width, height), self._filter))
        if self.config.fit == "whole":
            return self._whole(picture)
        box = _middle_square(width, height) if self.config.fit == "crop" else None
        return np.asarray(picture.resize((side, side), self._filter, box=box))

    def shown(self, pixels: NDArray[np.uint8]) -> Box:
        """What of a picture uint8 ``[h, w, 3]`` the model is shown, in shares of the picture: below 0 and
        above 1 where a border is added."""
        fit, side = self.config.fit, self.config.side
        height, width = pixels.shape[:2]
        content = _content(pixels) if self.config.trim else None
        if content is not None:  # a square, which every fit leaves as it is
            left, top, across, down = content.left, content.top, float(content.side), float(content.side)
            return left / width, top / height, (left + across) / width, (top + down) / height
        if fit in ("squash", "bounded", "whole"):
            return 0.0, 0.0, 1.0, 1.0
        if fit == "pad":
            across = down = float(max(width, height))
        elif fit == "crop":
            across = down = float(min(width, height))
        else:
            across = down = side * min(width, height) / (self.config.resize or side)
        left, top = (width - across) / 2, (height - down) / 2
        return left / width, top / height, (left + across) / width, (top + down) / height

    def box_in_picture(self, box: Box, pixels: NDArray[np.uint8]) -> Box:
        """A box of what the model is shown, in shares, as shares of the picture, cut off where that ends."""
        left, top, right, bottom = self.shown(pixels)
        across = [min(1.0, max(0.0, left + share * (right - left))) for share in (box[0], box[2])]
        down = [min(1.0, max(0.0, top + share * (bottom - top))) for share in (box[1], box[3])]
        return across[0], down[0], across[1], down[1]

    def _bounded(self, width: int, height: int) -> tuple[int, int]:
        c = self.config
        # in the order of the published computation, so that halves are rounded alike
        scale = c.side / min(width, height)
        sides = [float(c.side) if n == min(width, height) else scale * n for n in (width, height)]
        if max(sides) > c.longest:
            shrink = c.longest / max(sides)
            sides = [shrink * n for n in sides]
        # where the published computation leaves nothing of a side, it is one multiple
        across, down = (max(c.multiple, int(n + 0.5) // c.multiple * c.multiple) for n in sides)
        return across, down

    def _whole(self, picture: Pillow.Image) -> NDArray[np.uint8]:
        longest, allowed = max(picture.size), self.config.longest
        if longest > allowed:
            across, down = (max(1, round(n * allowed / longest)) for n in picture.size)
            picture = picture.resize((across, down), self._filter)
        return np.asarray(picture)

    def _cut(self, picture: Pillow.Image) -> Pillow.Image:
        side, short = self.config.side, self.config.resize or self.config.side
        scale = short / min(picture.size)
        width, height = (short if n == min(picture.size) else int(n * scale) for n in picture.size)
        left, top = (width - side) // 2, (height - side) // 2
        resized = picture.resize((width, height), self._filter)
        return resized.crop((left, top, left + side, top + side))

    def _padded(self, picture: Pillow.Image) -> Pillow.Image:
        side = self.config.side
        scale = side / max(picture.size)
        width, height = (max(1, round(length * scale)) for length in picture.size)
        canvas = Pillow.new("RGB", (side, side), self.config.background)
        resized = picture.resize((width, height), self._filter)
        canvas.paste(resized, ((side - width) // 2, (side - height) // 2))
        return canvas


def trim(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The content of a drawing in a square of its border's colour, with a margin of 4 % on each side.

    Applies only where the outermost ring of pixels has one colour; anything else (every ordinary
    photograph) comes back as it is, and so does a picture without content.

    Args:
        pixels: uint8 ``[h, w, 3]``.
    """
    content = _content(pixels)
    if content is None:
        return pixels
    square = np.empty((content.side, content.side, 3), np.uint8)
    square[:] = content.colour
    rows, columns = content.rows, content.columns
    y, x = rows.start - content.top, columns.start - content.left
    square[y : y + len(rows), x : x + len(columns)] = pixels[
        rows.start : rows.stop, columns.start : columns.stop
    ]
    return square


class _Content(NamedTuple):
    """Where a drawing's content lies, and its square, whose corner may lie outside of the picture."""

    rows: range
    columns: range
    left: int
    top: int
    side: int
    colour: NDArray[np.uint8]


def _content(pixels: NDArray[np.uint8]) -> _Content | None:
    height, width = pixels.shape[:2]
    ring = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    low, high = ring.min(axis=0), ring.max(axis=0)
    if (high - low).max() > _TOLERANCE:
        return None
    colour = np.median(ring, axis=0).astype(np.int16)
    darkest, brightest = (np.clip(colour + d, 0, 255).astype(np.uint8) for d in (-_CONTRAST, _CONTRAST))
    rows, columns = _beyond(pixels, darkest, brightest)
    if rows.size == 0:
        return None
    top, bottom, left, right = (int(n) for n in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    longer = max(bottom - top, right - left)
    if longer < _SPECK * max(height, width):
        return None
    side = longer + 2 * max(1, round(longer * _MARGIN))
    return _Content(
        range(top, bottom),
        range(left, right),
        left - (side - (right - left)) // 2,
        top - (side - (bottom - top)) // 2,
        side,
        colour.astype(np.uint8),
    )


def _beyond(
    pixels: NDArray[np.uint8], low: NDArray[np.uint8], high: NDArray[np.uint8]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows and the columns that hold a value below ``low`` or above ``high`` (each one per channel)."""
    height, width = pixels.shape[:2]
    flat = pixels.reshape(height, width * 3)  # contiguous comparisons are several times faster
    outside_rows = (flat < np.tile(low, width)).any(axis=1) | (flat > np.tile(high, width)).any(axis=1)
    smallest, largest = flat.min(axis=0).reshape(width, 3), flat.max(axis=0).reshape(width, 3)
    outside_columns = ((smallest < low) | (largest > high)).any(axis=1)
    return np.flatnonzero(outside_rows), np.flatnonzero(outside_columns)


def _middle_square(width: int, height: int) -> tuple[float, float, float, float]:
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    return left, top, left + short, top + short
