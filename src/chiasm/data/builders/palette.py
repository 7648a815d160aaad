"""Eleven basic colours and dyeing a drawing in one of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Colour:
    """A basic colour term (Berlin & Kay 1969) in both languages; ``zh`` is the bare morpheme before 色."""

    en: str
    zh: str
    rgb: tuple[int, int, int]


COLOURS: dict[str, Colour] = {
    colour.en: colour
    for colour in (
        Colour("red", "红", (214, 36, 40)),
        Colour("orange", "橙", (245, 135, 31)),
        Colour("yellow", "黄", (250, 214, 40)),
        Colour("green", "绿", (58, 160, 70)),
        Colour("blue", "蓝", (45, 105, 215)),
        Colour("purple", "紫", (135, 65, 175)),
        Colour("pink", "粉", (245, 140, 185)),
        Colour("brown", "棕", (130, 82, 45)),
        Colour("black", "黑", (35, 35, 38)),
        Colour("white", "白", (246, 246, 246)),
        Colour("gray", "灰", (140, 142, 146)),
    )
}


def recolour(
    sprite: NDArray[np.uint8], rgb: tuple[int, int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Dye the drawing: keep its light and shade, replace its hue; ``[s, s, 4]`` → the same shape."""
    grey = sprite[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    inside = sprite[..., 3] > 128
    middle = float(np.median(grey[inside])) if inside.any() else 128.0
    shade = (grey - middle)[..., None] * rng.uniform(0.35, 0.7)
    target = np.asarray(rgb, dtype=np.float32) + rng.uniform(-14, 14, 3).astype(np.float32)
    dyed = (target + shade).clip(0, 255).astype(np.uint8)
    return np.concatenate([dyed, sprite[..., 3:]], axis=2)
