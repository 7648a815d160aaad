"""Views of drawings: one sprite (or a few) on a background, varied in place, style and colour.

Pure functions of a sprite and a random generator, so that a seed gives the same picture on every machine.
Sprites are uint8 ``[s, s, 4]`` with straight alpha; views are uint8 ``[side, side, 3]``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from chiasm.data.builders.palette import COLOURS, recolour

Pixels = NDArray[np.uint8]
Generator = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """How much views vary. Probabilities are independent."""

    side: int = 192
    plain: float = 0.45  # white background, as on most pages and stickers
    flip: float = 0.35
    outline: float = 0.25
    posterise: float = 0.15
    grey: float = 0.04
    blur: float = 0.12
    min_scale: float = 0.55
    max_turn: float = 12.0


def plain_view(sprite: Pixels, side: int) -> Pixels:
    """The sprite on white, filling the picture up to a small margin."""
    return _compose(Image.new("RGB", (side, side), "white"), [(sprite, 0.94, 0.5, 0.5)])


def varied_view(sprite: Pixels, rng: Generator, config: ViewConfig, *, may_flip: bool) -> Pixels:
    """The sprite in another style, place and light."""
    c = config
    styled = _restyle(sprite, rng, c)
    picture = Image.fromarray(styled, "RGBA")
    if may_flip and rng.random() < c.flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.5:
        picture = picture.rotate(rng.uniform(-c.max_turn, c.max_turn), Image.Resampling.BILINEAR, expand=True)
    scale = 0.94 if rng.random() < 0.4 else rng.uniform(c.min_scale, 1.1)
    free = max(0.0, 1.0 - scale) / 2
    place = (0.5 + rng.uniform(-free, free), 0.5 + rng.uniform(-free, free))
    background = Image.new("RGB", (c.side, c.side), "white")
    if rng.random() >= c.plain:
        background = make_background(rng, c.side)
    return _light(_compose(background, [(np.asarray(picture), scale, *place)]), rng, c)


def inked_view(sprite: Pixels, rng: Generator, config: ViewConfig, *, may_flip: bool) -> Pixels:
    """The sprite as line art: dark strokes around a few flat colours, on white."""
    picture = Image.fromarray(_outlined(_flat(sprite, rng), rng), "RGBA")
    if may_flip and rng.random() < config.flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = 0.94 if rng.random() < 0.6 else rng.uniform(config.min_scale, 1.0)
    background = Image.new("RGB", (config.side, config.side), "white")
    return _compose(background, [(np.asarray(picture), scale, 0.5, 0.5)])


def filled_view(sprite: Pixels, rng: Generator, config: ViewConfig, *, may_flip: bool) -> Pixels:
    """A drawing in one colour as a colouring book leaves it: what its strokes enclose gets flat colours."""
    picture = Image.fromarray(_coloured_in(sprite, rng), "RGBA")
    if may_flip and rng.random() < config.flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = 0.94 if rng.random() < 0.6 else rng.uniform(config.min_scale, 1.0)
    background = Image.new("RGB", (config.side, config.side), "white")
    return _compose(background, [(np.asarray(picture), scale, 0.5, 0.5)])


def coloured_view(sprite: Pixels, colour: str, rng: Generator, config: ViewConfig) -> Pixels:
    """The sprite dyed in one of :data:`palette.COLOURS`, on a quiet background."""
    dyed = recolour(sprite, COLOURS[colour].rgb, rng)
    background = Image.new("RGB", (config.side, config.side), "white")
    if rng.random() < 0.3:
        background = Image.new(
            "RGB", (config.side, config.side), tuple(int(v) for v in rng.integers(200, 256, 3))
        )
    return _compose(background, [(dyed, rng.uniform(0.7, 0.96), 0.5, 0.5)])


def scene_view(
    placed: list[tuple[Pixels, float, float, float]], rng: Generator, config: ViewConfig
) -> Pixels:
    """Several sprites (sprite, scale, centre x, centre y; all in [0, 1]) on one background."""
    background = make_background(rng, config.side) if rng.random() < 0.6 else None
    return _compose(background or Image.new("RGB", (config.side, config.side), "white"), placed)


def make_background(rng: Generator, side: int) -> Image.Image:
    """A flat colour, a gradient, or cloudy texture (1/f noise in two colours)."""
    kind = rng.random()
    first, second = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
    if kind < 0.3:
        return Image.new("RGB", (side, side), tuple(int(v) for v in (first + 255) // 2))
    if kind < 0.55:
        ramp = np.linspace(0, 1, side)[:, None] * np.cos(rng.uniform(0, 6.3)) + np.linspace(0, 1, side)[
            None
        ] * np.sin(rng.uniform(0, 6.3))
        field = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    else:
        field = _clouds(rng, side)
    mixed = first[None, None] * field[..., None] + second[None, None] * (1 - field[..., None])
    soft = mixed * 0.7 + 255 * 0.3 * rng.random()
    return Image.fromarray(soft.clip(0, 255).astype(np.uint8), "RGB")


def _clouds(rng: Generator, side: int) -> NDArray[np.float64]:
    total = np.zeros((side, side))
    for octave in (4, 8, 16, 48):
        grid = Image.fromarray(rng.random((octave, octave)).astype(np.float32) * 255.0, "F")
        total += np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) / octave
    return np.asarray((total - total.min()) / max(float(np.ptp(total)), 1e-6))


def _compose(background: Image.Image, placed: list[tuple[Pixels, float, float, float]]) -> Pixels:
    side = background.width
    for sprite, scale, x, y in placed:
        picture = Image.fromarray(np.ascontiguousarray(sprite), "RGBA")
        size = max(4, round(scale * side))
        ratio = size / max(picture.size)
        resized = picture.resize(
            (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))),
            Image.Resampling.BILINEAR,
        )
        corner = (round(x * side - resized.width / 2), round(y * side - resized.height / 2))
        background.paste(resized, corner, resized.getchannel("A"))
    return np.array(background, dtype=np.uint8)


def _restyle(sprite: Pixels, rng: Generator, c: ViewConfig) -> Pixels:
    out = sprite
    if rng.random() < c.posterise:
        levels = int(rng.integers(3, 7))
        step = 255 / (levels - 1)
        out = out.copy()
        out[..., :3] = (np.round(out[..., :3] / step) * step).astype(np.uint8)
    if rng.random() < c.outline:
        out = _outlined(out, rng)
    return out


def _flat(sprite: Pixels, rng: Generator) -> Pixels:
    """Three to six colours without shading."""
    blurred = Image.fromarray(sprite[..., :3], "RGB").filter(ImageFilter.MedianFilter(5))
    flat = blurred.quantize(int(rng.integers(3, 7)), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.concatenate([np.asarray(flat.convert("RGB")), sprite[..., 3:]], axis=2)


def _coloured_in(sprite: Pixels, rng: Generator) -> Pixels:
    """Each area that is no stroke and does not reach the border gets one of a few colours; the strokes stay,
    or where they are themselves the body, now and then take a colour too."""
    from scipy import ndimage  # noqa: PLC0415  (an extra, needed only where the corpus is built)

    ink = np.pad(sprite[..., 3] > 128, 1)
    areas, count = ndimage.label(~ink)
    areas = areas[1:-1, 1:-1]
    palette = rng.integers(60, 256, (int(rng.integers(1, 5)), 3))
    colours = palette[rng.integers(len(palette), size=count + 1)]
    body = rng.integers(0, 50, 3) if rng.random() < 0.7 else rng.integers(0, 200, 3)
    outside = areas == 1  # the padding's area is the first in reading order
    enclosed = (areas > 1)[..., None]
    rgb = np.where(enclosed, colours[areas], body).astype(np.uint8)
    alpha = np.where(outside, sprite[..., 3], 255)
    # Half-covered pixels at a stroke's inner edge mix its colour with that of the area.
    cover = sprite[..., 3:].astype(np.float32) / 255.0
    blended = np.where(enclosed, body * cover + rgb * (1 - cover), rgb)
    return np.concatenate([blended, alpha[..., None]], axis=2).astype(np.uint8)


def _outlined(sprite: Pixels, rng: Generator) -> Pixels:
    """Dark strokes along the silhouette and the inner edges, as in comic drawing; sometimes strokes alone."""
    width = int(rng.choice([3, 5, 7]))
    alpha = Image.fromarray(sprite[..., 3], "L")
    grown = np.asarray(alpha.filter(ImageFilter.MaxFilter(width)), dtype=np.int16)
    shrunk = np.asarray(alpha.filter(ImageFilter.MinFilter(3)), dtype=np.int16)
    grey = Image.fromarray(sprite[..., :3].mean(axis=2).astype(np.uint8), "L").filter(
        ImageFilter.GaussianBlur(1)
    )
    level = np.asarray(grey, dtype=np.int16)
    edge = np.zeros_like(level)
    edge[1:-1, 1:-1] = np.abs(level[1:-1, 2:] - level[1:-1, :-2]) + np.abs(level[2:, 1:-1] - level[:-2, 1:-1])
    inner = np.asarray(
        Image.fromarray(((edge > 40) & (sprite[..., 3] > 128)).astype(np.uint8) * 255, "L").filter(
            ImageFilter.MaxFilter(3)
        )
    )
    stroke = ((grown - shrunk > 60) | (inner > 0))[..., None]
    ink = rng.integers(0, 50, 3)
    body = sprite[..., :3]
    if rng.random() < 0.25:
        body = np.full_like(body, 255)
    rgb = np.where(stroke, ink, body).astype(np.uint8)
    return np.concatenate([rgb, grown[..., None].astype(np.uint8)], axis=2)


def _light(view: Pixels, rng: Generator, c: ViewConfig) -> Pixels:
    values = view.astype(np.float32)
    if rng.random() < 0.6:
        mean = values.mean()
        values = (values - mean) * rng.uniform(0.7, 1.25) + mean + rng.uniform(-25, 25)
        grey = values.mean(axis=2, keepdims=True)
        values = grey + (values - grey) * rng.uniform(0.6, 1.4)
    if rng.random() < c.grey:
        values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
    out = values.clip(0, 255).astype(np.uint8)
    if rng.random() < c.blur:
        blurred = Image.fromarray(out, "RGB").filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.6)))
        out = np.array(blurred, dtype=np.uint8)
    return out
