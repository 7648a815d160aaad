"""Views: pictures of a sprite that a seed decides."""

from collections.abc import Callable

import numpy as np
import pytest

from chiasm.data.builders.palette import COLOURS, recolour
from chiasm.data.builders.views import (
    Pixels,
    ViewConfig,
    coloured_view,
    filled_view,
    inked_view,
    make_background,
    plain_view,
    scene_view,
    varied_view,
)
from tiny_corpus import disc

SMALL = ViewConfig(side=48)


def ring(side: int = 48) -> Pixels:
    """A black circle that encloses a disc of nothing."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    sprite = np.zeros((side, side, 4), np.uint8)
    sprite[..., 3] = np.where(np.abs(np.hypot(x, y) - side * 0.4) < 3, 255, 0)
    return sprite


Paint = Callable[[np.random.Generator], Pixels]
PAINTERS: dict[str, Paint] = {
    "varied": lambda rng: varied_view(disc(), rng, SMALL, may_flip=True),
    "inked": lambda rng: inked_view(disc(), rng, SMALL, may_flip=True),
    "filled": lambda rng: filled_view(ring(), rng, SMALL, may_flip=True),
    "coloured": lambda rng: coloured_view(disc(), "green", rng, SMALL),
    "scene": lambda rng: scene_view([(disc(), 0.5, 0.3, 0.5), (disc(), 0.4, 0.7, 0.5)], rng, SMALL),
    "background": lambda rng: np.asarray(make_background(rng, 48)),
}


@pytest.mark.parametrize("kind", PAINTERS)
def test_a_seed_decides_the_picture(kind: str) -> None:
    views = [PAINTERS[kind](np.random.default_rng(seed)) for seed in (*range(12), *range(12))]
    for view in views:
        assert (view.shape, view.dtype) == ((48, 48, 3), np.uint8)
    for first, again in zip(views[:12], views[12:], strict=True):
        np.testing.assert_array_equal(first, again)
    assert len({view.tobytes() for view in views}) > 4, "seeds differ"


def test_painting_leaves_the_sprite_as_it_is() -> None:
    sprite = disc()
    before = sprite.copy()
    for seed in range(30):
        varied_view(
            sprite, np.random.default_rng(seed), ViewConfig(side=32, posterise=1, outline=1), may_flip=True
        )
    np.testing.assert_array_equal(sprite, before)


def test_line_art_has_a_dark_edge_and_few_colours() -> None:
    y, x = np.mgrid[:160, :160] - 79.5
    ball = np.zeros((160, 160, 4), np.uint8)
    ball[..., :3] = (255 - np.hypot(x - 20, y - 20)).clip(60, 255).astype(np.uint8)[..., None]  # shaded
    ball[..., 3] = np.where(np.hypot(x, y) < 70, 255, 0)
    for seed in range(8):
        view = inked_view(ball, np.random.default_rng(seed), ViewConfig(side=160), may_flip=False)
        inside = view[60:100, 60:100].reshape(-1, 3)
        assert view.min() < 60, "strokes"
        assert view[0, 0].min() == 255
        assert len(np.unique(inside, axis=0)) < 40 < len(np.unique(ball[60:100, 60:100, 0]))


def test_what_strokes_enclose_is_coloured_in_and_the_outside_is_not() -> None:
    seen = set()
    for seed in range(12):
        view = filled_view(ring(160), np.random.default_rng(seed), ViewConfig(side=160), may_flip=False)
        middle = view[80, 80]
        assert view[0, 0].min() == 255, "the ground stays white"
        assert middle.min() >= 60, "an enclosed area has a colour, not that of the strokes"
        seen.add(tuple(middle))
    assert len(seen) == 12


def test_the_plain_view_is_the_sprite_on_white() -> None:
    view = plain_view(disc(rgb=(200, 60, 40)), 64)
    assert view[0].min() == 255
    assert np.abs(view[40, 40].astype(int) - (200, 60, 40)).max() <= 2


def test_what_must_not_be_mirrored_is_not() -> None:
    half = disc()
    half[:, 12:, 3] = 0  # the left half only
    still = ViewConfig(
        side=48, plain=1, flip=1, outline=0, posterise=0, grey=0, blur=0, min_scale=0.9, max_turn=0.01
    )

    def darker_left(may_flip: bool) -> list[bool]:
        views = [varied_view(half, np.random.default_rng(s), still, may_flip=may_flip) for s in range(10)]
        return [bool(v[:, :24].mean() < v[:, 24:].mean()) for v in views]

    assert all(darker_left(False))
    assert not any(darker_left(True))


@pytest.mark.parametrize("colour", COLOURS)
def test_dyeing_keeps_the_outline_and_lands_near_the_colour(colour: str) -> None:
    sprite, wanted = disc(), COLOURS[colour].rgb
    dyed = recolour(sprite, wanted, np.random.default_rng(3))
    np.testing.assert_array_equal(dyed[..., 3], sprite[..., 3])
    median = np.median(dyed[sprite[..., 3] > 128][:, :3], axis=0)
    assert np.abs(median - wanted).max() <= 16
    others = {name: np.abs(median - np.array(c.rgb)).sum() for name, c in COLOURS.items()}
    assert min(others, key=lambda name: others[name]) == colour


def test_dyeing_keeps_light_and_shade() -> None:
    dyed = recolour(disc(), COLOURS["blue"].rgb, np.random.default_rng(0)).astype(int)
    assert dyed[7, 7, 0] > dyed[16, 16, 0] + 10, "the bright spot stays bright"


def test_an_empty_sprite_can_be_dyed() -> None:
    assert recolour(np.zeros((8, 8, 4), np.uint8), (1, 2, 3), np.random.default_rng(0))[..., 3].max() == 0
