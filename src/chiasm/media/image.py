"""Bytes → upright RGB picture, by Pillow."""

import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from PIL.Image import Transpose

from chiasm.errors import TooLarge, UnsupportedMedia
from chiasm.media.bounds import decoding
from chiasm.media.types import AVIF, BMP, GIF, JPEG, PNG, WEBP, MediaType, sniff
from chiasm.modality import Image
from chiasm.settings import Limits

_FORMATS: dict[MediaType, str] = {
    PNG: "PNG",
    JPEG: "JPEG",
    GIF: "GIF",
    WEBP: "WEBP",
    BMP: "BMP",
    AVIF: "AVIF",
}
_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_PIXELS = re.compile(r"\((\d+ pixels)\)")  # in Pillow's own refusal
_WHITE = (255, 255, 255, 255)


def decode_image(data: bytes, limits: Limits, min_side: int | None = None) -> Image:
    """The picture, upright, in RGB, on white where it is transparent; of an animation, its first frame.

    Args:
        data: PNG, JPEG, GIF, WebP, BMP or AVIF.
        limits: ``image_pixels`` is checked on the header, before anything is decoded.
        min_side: a shorter side that is enough for the caller; JPEG then decodes at a half, a quarter or
            an eighth of its size, several times faster.

    Raises:
        UnsupportedMedia: another type, or a damaged or truncated file.
        TooLarge: more pixels than allowed.
    """
    kind = _type_of(data)
    with (
        decoding(f"{_FORMATS[kind]} picture", f" {_FORMATS[kind]} 图片"),
        _open(data, kind, limits) as picture,
    ):
        if min_side is not None and kind == JPEG:
            picture.draft("RGB", (min_side, min_side))
        orientation = _orientation(picture)
        upright = to_rgb(picture)
        if orientation in _UPRIGHT:
            upright = upright.transpose(_UPRIGHT[orientation])
        return Image(_pixels(upright))


def image_size(data: bytes, limits: Limits) -> tuple[int, int]:
    """Width and height of the upright picture, from its header; raises as :func:`decode_image`."""
    kind = _type_of(data)
    with (
        decoding(f"{_FORMATS[kind]} picture", f" {_FORMATS[kind]} 图片"),
        _open(data, kind, limits) as picture,
    ):
        width, height = picture.size
        return (height, width) if _orientation(picture) >= 5 else (width, height)


def image_of(picture: Pillow.Image, limits: Limits) -> Image:
    """A Pillow picture as one of ours; raises as :func:`decode_image`."""
    _check_pixels(picture.size, limits)
    with decoding("picture", "图片"):
        return Image(_pixels(to_rgb(picture)))


def to_rgb(picture: Pillow.Image) -> Pillow.Image:
    """Any mode → RGB: 16-bit grey is scaled down, transparency is laid on white."""
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture).astype(np.float32)
        top = 1.0 if picture.mode == "F" else 65535.0
        grey = np.nan_to_num(np.clip(values / top, 0, 1)) * 255
        return Pillow.fromarray(np.round(grey).astype(np.uint8)).convert("RGB")
    if picture.mode == "RGB" and "transparency" not in picture.info:
        picture.load()
        return picture
    if picture.has_transparency_data:
        coloured = picture.convert("RGBA")
        ground = Pillow.new("RGBA", coloured.size, _WHITE)
        ground.alpha_composite(coloured)
        return ground.convert("RGB")
    return picture.convert("RGB")


def _type_of(data: bytes) -> MediaType:
    kind = sniff(data)
    if kind not in _FORMATS:
        raise UnsupportedMedia(f"expected a picture, got {kind.mime}", f"应为图片，实际为 {kind.mime}")
    return kind


def _open(data: bytes, kind: MediaType, limits: Limits) -> Pillow.Image:
    try:
        picture = Pillow.open(io.BytesIO(data), formats=[_FORMATS[kind]])
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        found = _PIXELS.search(str(error))
        raise _too_many_pixels(found[1] if found else "more", limits) from error
    except UnidentifiedImageError as error:
        raise UnsupportedMedia(
            f"expected an intact {_FORMATS[kind]} picture, got one whose header cannot be read",
            f"应为完好的 {_FORMATS[kind]} 图片，实际无法读取文件头",
        ) from error
    _check_pixels(picture.size, limits)
    return picture


def _orientation(picture: Pillow.Image) -> int:
    """The EXIF orientation, 1 to 8; a damaged EXIF block says nothing about the pixels, so it counts as 1."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - Pillow's EXIF parser raises whatever the bytes lead it into
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _pixels(picture: Pillow.Image) -> NDArray[np.uint8]:
    return np.asarray(picture, dtype=np.uint8)


def _check_pixels(size: tuple[int, int], limits: Limits) -> None:
    if size[0] * size[1] > limits.image_pixels:
        raise _too_many_pixels(f"{size[0]} x {size[1]}", limits)


def _too_many_pixels(got: str, limits: Limits) -> TooLarge:
    return TooLarge(
        f"expected a picture of at most {limits.image_pixels} pixels, got {got}",
        f"图片最多 {limits.image_pixels} 像素，实际为 {got}",
    )
