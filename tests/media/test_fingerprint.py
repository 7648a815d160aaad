"""Fingerprints: what copies share and others do not."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from chiasm.media import picture_fingerprint, text_fingerprint
from chiasm.media.fingerprint import bits_apart, colours_apart
from chiasm.modality import Image


def scene(seed: int, side: int = 128) -> Image:
    """Some coloured fields."""
    fields = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image(np.asarray(Pillow.fromarray(fields).resize((side, side), Pillow.Resampling.BICUBIC)))


def through_jpeg(image: Image) -> Image:
    buffer = io.BytesIO()
    Pillow.fromarray(image.pixels).save(buffer, "JPEG", quality=30)
    return Image(np.asarray(Pillow.open(buffer)))


def of(image: Image) -> bytes:
    return bytes.fromhex(picture_fingerprint(image))


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_is_near_and_another_picture_far(seed: int) -> None:
    picture, other = of(scene(seed)), of(scene(seed + 100))
    assert len(picture) == 56
    for copy in (scene(seed, 64), scene(seed, 300), through_jpeg(scene(seed))):
        assert bits_apart(picture, of(copy)) <= 8
        assert colours_apart(picture, of(copy)) < 5
    assert bits_apart(picture, other) > 12


def test_the_same_shape_in_another_colour_is_told_by_its_colours() -> None:
    red, green = np.full((64, 64, 3), 255, np.uint8), np.full((64, 64, 3), 255, np.uint8)
    red[16:48, 16:48] = (200, 30, 30)
    green[16:48, 16:48] = (30, 113, 30)  # as light as the red
    assert colours_apart(of(Image(red)), of(Image(green))) > 12


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (500, 1, 3)])
def test_pictures_of_any_shape_have_one(shape: tuple[int, int, int]) -> None:
    assert len(of(Image(np.zeros(shape, np.uint8)))) == 56


def test_a_text_retyped_is_the_same_and_another_is_not() -> None:
    text = "The keeper lit the lamp at dusk, and the boats came home one by one along the coast. "
    first = bytes.fromhex(text_fingerprint(text) or "")
    assert bits_apart(first, bytes.fromhex(text_fingerprint(f"  {text.upper()}\n") or "")) == 0
    other = "We baked a loaf on Sunday and ate it warm with butter, although the crust had burnt a little."
    assert bits_apart(first, bytes.fromhex(text_fingerprint(other) or "")) > 12
    assert text_fingerprint("…!") is None
    assert text_fingerprint("茶") is not None
