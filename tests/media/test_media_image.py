"""Pictures arrive upright, in RGB, on white."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from chiasm.errors import TooLarge, UnsupportedMedia
from chiasm.media import decode_image
from chiasm.media.image import image_of, image_size
from chiasm.settings import Limits


def saved(picture: Pillow.Image, format_name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, limits):
    upright = np.zeros((40, 24, 3), np.uint8)
    upright[:20, :12], upright[:20, 12:], upright[20:, :12] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {  # what the camera stores so that a viewer that obeys the tag shows ``upright``
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = saved(Pillow.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    assert np.array_equal(decode_image(data, limits).pixels, upright)
    assert image_size(data, limits) == (24, 40)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_does_not_cost_the_picture(limits):
    data = saved(Pillow.new("RGB", (8, 8), "red"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode_image(data, limits).pixels.shape == (8, 8, 3)


def one_pixel(mode: str, value: object) -> Pillow.Image:
    return Pillow.new(mode, (2, 2), value)


def palette_with_hole() -> Pillow.Image:
    picture = Pillow.new("P", (2, 2), 0)
    picture.putpalette([200, 0, 0] + [0] * 765)
    picture.info["transparency"] = 0
    return picture


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (one_pixel("1", 1), (255, 255, 255)),
        (one_pixel("L", 100), (100, 100, 100)),
        (one_pixel("LA", (0, 128)), (127, 127, 127)),
        (one_pixel("RGBA", (255, 0, 0, 0)), (255, 255, 255)),
        (one_pixel("RGBA", (255, 0, 0, 128)), (255, 127, 127)),
        (palette_with_hole(), (255, 255, 255)),
        (Pillow.fromarray(np.full((2, 2), 0x8000, np.uint16)), (128, 128, 128)),
    ],
    ids=["bilevel", "grey", "grey-alpha", "clear", "half clear", "palette", "16 bit"],
)
def test_every_mode_becomes_rgb_on_white(picture, expected, limits):
    pixels = decode_image(saved(picture, "PNG"), limits).pixels
    assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_cmyk_jpeg(limits):
    pixels = decode_image(saved(Pillow.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), limits).pixels
    assert (pixels[..., 0] > 240).all()
    assert (pixels[..., 1:] < 16).all()


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame(format_name, limits):
    first, second = Pillow.new("RGB", (8, 8), (255, 0, 0)), Pillow.new("RGB", (8, 8), (0, 0, 255))
    data = saved(first, format_name, save_all=True, append_images=[second], duration=100)
    red = decode_image(data, limits).pixels[4, 4].astype(int)
    assert red[0] > 240
    assert red[2] < 16


def test_a_large_jpeg_decodes_no_smaller_than_asked(limits, make_picture):
    data = make_picture("JPEG", (800, 600))
    assert decode_image(data, limits).pixels.shape == (600, 800, 3)
    assert decode_image(data, limits, min_side=192).pixels.shape == (300, 400, 3)
    assert decode_image(data, limits, min_side=70).pixels.shape == (75, 100, 3)
    small = decode_image(data, limits, min_side=192).pixels.astype(int)
    exact = Pillow.open(io.BytesIO(data)).resize((400, 300), Pillow.Resampling.BOX)
    assert np.abs(small - np.asarray(exact)).mean() < 3


@pytest.mark.parametrize("mime", ["image/png", "image/jpeg", "image/webp", "image/bmp", "image/avif"])
def test_half_a_file_is_refused(mime, pictures, limits):
    data = pictures[mime]
    with pytest.raises(UnsupportedMedia):
        decode_image(data[: len(data) // 2], limits)


def test_sound_is_not_a_picture(sounds, limits):
    with pytest.raises(UnsupportedMedia, match="expected a picture, got audio/wav"):
        decode_image(sounds["audio/wav"], limits)


def test_a_pillow_picture_is_taken_as_it_is(limits):
    assert image_of(Pillow.new("RGBA", (3, 2), (0, 0, 0, 0)), limits).pixels.tolist() == [[[255] * 3] * 3] * 2
    with pytest.raises(TooLarge):
        image_of(Pillow.new("L", (30, 20)), Limits(image_pixels=500))
