"""Procedural clips: what moves, moves as its name says, and backwards it is the opposite."""

import numpy as np
import pytest
from numpy.typing import NDArray

from chiasm.data.builders.clips import OPPOSITE, STILL, make_clip
from chiasm.data.builders.parallel import MOTIONS
from chiasm.data.builders.views import Pixels

# A clip's first draw decides its background; these seeds paint it white, so that the sprite can be measured.
WHITE = [seed for seed in range(60) if np.random.default_rng(seed).random() >= 0.6][:6]


def bar() -> Pixels:
    """Black on the left, red on the right."""
    sprite = np.zeros((32, 32, 4), dtype=np.uint8)
    sprite[8:24, :, 3] = 255
    sprite[:, 16:, 0] = 255
    return sprite


def clip_of(motion: str, seed: int) -> NDArray[np.float64]:
    return make_clip(bar(), motion, np.random.default_rng(seed), side=64).astype(np.float64)


def centroid(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(x, y) of each frame's mass, [f, 2]."""
    y, x = np.mgrid[: weights.shape[1], : weights.shape[2]]
    mass = weights.sum(axis=(1, 2))
    return np.stack([(weights * x).sum(axis=(1, 2)) / mass, (weights * y).sum(axis=(1, 2)) / mass], axis=1)


def measure(clip: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """How place, size and direction change from frame to frame; directions in degrees clockwise."""
    ink = 255.0 - clip[..., 1]  # both halves are dark in green
    red = clip[..., 0] * (ink / 255.0)
    middle, head = centroid(ink), centroid(red)
    angle = np.degrees(np.unwrap(np.arctan2(*(head - middle).T[::-1])))
    x, y = np.diff(middle, axis=0).T
    return {"x": x, "y": y, "size": np.diff(ink.sum(axis=(1, 2))), "angle": np.diff(angle)}


SIGNS = {
    "left": ("x", -1),
    "right": ("x", 1),
    "up": ("y", -1),
    "down": ("y", 1),
    "grow": ("size", 1),
    "shrink": ("size", -1),
    "clockwise": ("angle", 1),
    "counterclockwise": ("angle", -1),
}


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_clip_moves_as_it_is_called_and_backwards_the_opposite_way(motion: str) -> None:
    what, sign = SIGNS[motion]
    back, other = SIGNS[OPPOSITE[motion]]
    assert (back, other) == (what, -sign)
    for seed in WHITE:
        clip = clip_of(motion, seed)
        assert (sign * measure(clip)[what] > 0).all()
        assert (other * measure(clip[::-1])[what] > 0).all()


def test_a_still_clip_only_trembles() -> None:
    for seed in WHITE:
        moved = measure(clip_of(STILL, seed))
        assert np.abs(moved["x"]).max() < 2.5
        assert np.abs(moved["angle"]).max() < 4


def test_the_background_stays() -> None:
    invisible = np.zeros((16, 16, 4), dtype=np.uint8)
    for seed in range(12):
        clip = make_clip(invisible, "right", np.random.default_rng(seed), side=32)
        assert (clip == clip[0]).all()


def test_shape_seed_and_unknown_motions() -> None:
    first, again = (make_clip(bar(), "up", np.random.default_rng(4), frames=5, side=40) for _ in range(2))
    assert (first.shape, first.dtype) == ((5, 40, 40, 3), np.uint8)
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ValueError, match="sideways"):
        make_clip(bar(), "sideways", np.random.default_rng(0))
