"""Procedural clips: one drawing that moves, grows, shrinks or turns on a background that stays."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chiasm.data.builders.parallel import MOTIONS
from chiasm.data.builders.views import Pixels, make_background

STILL = "still"
OPPOSITE = {
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
    "grow": "shrink",
    "shrink": "grow",
    "clockwise": "counterclockwise",
    "counterclockwise": "clockwise",
}
_DIRECTION = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}


def make_clip(
    sprite: Pixels, motion: str, rng: np.random.Generator, *, frames: int = 8, side: int = 96
) -> NDArray[np.uint8]:
    """A clip of one drawing.

    Args:
        sprite: uint8 [s, s, 4]. motion: a key of ``MOTIONS``, or :data:`STILL`. rng: decides all that varies.
        frames: at least 2.

    Returns:
        uint8 ``[frames, side, side, 3]``.

    Raises:
        ValueError: a motion that does not exist.
    """
    if motion != STILL and motion not in MOTIONS:
        raise ValueError(f"expected one of {[*MOTIONS, STILL]}, got {motion!r}")
    background = Image.new("RGB", (side, side), "white")
    if rng.random() < 0.6:
        background = make_background(rng, side)
    picture = Image.fromarray(sprite, "RGBA")
    size = rng.uniform(0.3, 0.6)
    path = rng.uniform(0.25, 0.55)
    start = rng.uniform(-0.08, 0.08, 2) + 0.5
    turn = rng.uniform(40, 150)
    first_angle = rng.uniform(-15, 15)
    shake = rng.uniform(0, 0.006)
    out = np.empty((frames, side, side, 3), dtype=np.uint8)
    for index in range(frames):
        at = index / (frames - 1) - 0.5
        x, y = start + rng.normal(0, shake, 2)
        scale, angle = size, first_angle
        if motion in _DIRECTION:
            x, y = x + _DIRECTION[motion][0] * path * at, y + _DIRECTION[motion][1] * path * at
        elif motion in {"grow", "shrink"}:
            scale = size * math.exp((1 if motion == "grow" else -1) * path * 2.0 * at)
        elif motion != STILL:
            # PIL turns counterclockwise for positive angles.
            angle += (-1 if motion == "clockwise" else 1) * turn * at
        out[index] = _frame(background, picture, scale, angle, (x, y))
    return out


def _frame(
    background: Image.Image, picture: Image.Image, scale: float, angle: float, centre: tuple[float, float]
) -> Pixels:
    side = background.width
    x, y = centre
    length = max(4, round(scale * side))
    placed = picture.resize((length, length), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if angle:
        placed = placed.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    frame = background.copy()
    frame.paste(
        placed,
        (round(x * side - placed.width / 2), round(y * side - placed.height / 2)),
        placed.getchannel("A"),
    )
    return np.asarray(frame, dtype=np.uint8)
