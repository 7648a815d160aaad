"""Trim, fit and resize, against Pillow's own."""

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from chiasm.preprocess import ImagePreprocess
from chiasm.preprocess.image import ImagePreprocessor, trim


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(64, 64), (48, 90), (91, 48), (1, 1), (3, 500)])
@pytest.mark.parametrize("name", ["bicubic", "bilinear", "lanczos", "box"])
def test_crop_is_pillows_resize_of_the_middle_square(shape, name):
    pixels = noise(*shape)
    got = ImagePreprocessor(ImagePreprocess(side=24, fit="crop", trim=False, filter=name))(pixels)
    expected = ImageOps.fit(Pillow.fromarray(pixels), (24, 24), Pillow.Resampling[name.upper()])
    assert np.abs(got.astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_squash_is_pillows_resize():
    pixels = noise(30, 77)
    got = ImagePreprocessor(ImagePreprocess(side=24, fit="squash", trim=False))(pixels)
    expected = Pillow.fromarray(pixels).resize((24, 24), Pillow.Resampling.BICUBIC)
    assert np.array_equal(got, np.asarray(expected))


def test_pad_keeps_the_whole_picture_on_the_background():
    pixels = np.full((10, 40, 3), 200, np.uint8)
    config = ImagePreprocess(side=40, fit="pad", trim=False, background=(0, 0, 255))
    got = ImagePreprocessor(config)(pixels)
    assert (got[15:25] == 200).all()
    assert (got[:15] == (0, 0, 255)).all()
    assert (got[25:] == (0, 0, 255)).all()


def test_a_small_drawing_on_a_plain_ground_fills_the_square():
    pixels = np.full((300, 400, 3), 250, np.uint8)
    pixels[200:250, 20:120] = (200, 0, 0)
    got = trim(pixels)
    assert got.shape == (108, 108, 3)
    red = (got == (200, 0, 0)).all(axis=2)
    assert red.sum() == 50 * 100
    assert np.flatnonzero(red.any(axis=0)).tolist() == list(range(4, 104))
    assert np.flatnonzero(red.any(axis=1)).tolist() == list(range(29, 79))
    assert (got[~red] == 250).all()


def test_jpeg_noise_in_the_border_does_not_hide_a_drawing():
    pixels = np.full((100, 100, 3), 252, np.uint8)
    pixels[0, ::2] = 255
    pixels[40:60, 40:60] = 0
    assert trim(pixels).shape == (22, 22, 3)


@pytest.mark.parametrize(
    "pixels",
    [
        noise(50, 60),
        np.repeat(np.linspace(0, 255, 60, dtype=np.uint8)[None, :, None], 50, axis=0).repeat(3, axis=2),
        np.full((50, 60, 3), 7, np.uint8),
        np.full((1, 1, 3), 7, np.uint8),
    ],
    ids=["photograph", "gradient", "blank", "one pixel"],
)
def test_nothing_else_is_trimmed(pixels):
    assert trim(pixels) is pixels


def test_a_speck_of_dust_is_not_the_subject():
    pixels = np.full((200, 200, 3), 255, np.uint8)
    pixels[100:103, 100:103] = 0
    assert trim(pixels) is pixels
