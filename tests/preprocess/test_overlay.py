"""Weights drawn over what they are of: bright where the weight is, nowhere else."""

import io
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image as Pillow

from chiasm.errors import InvalidInput
from chiasm.modality import Audio, Image, Text, Video
from chiasm.preprocess.overlay import overlay


class Place(NamedTuple):
    weight: float
    box: tuple[float, float, float, float] | None = None
    span: tuple[float, float] | None = None


def drawn(png: bytes) -> np.ndarray:
    return np.asarray(Pillow.open(io.BytesIO(png)).convert("RGB"), np.float64)


def yellow(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0] - pixels[..., 2]


def test_of_a_picture_the_box_with_the_weight_is_bright() -> None:
    grey = Image(np.full((60, 90, 3), 128, np.uint8))
    places = [Place(0.9, (0.0, 0.0, 0.5, 1.0)), Place(0.1, (0.5, 0.0, 1.0, 1.0)), Place(0.0)]
    shown = yellow(drawn(overlay(grey, places)))
    assert shown.shape == (60, 90)
    assert shown[:, :40].min() > shown[:, 50:].max() + 50
    small = drawn(overlay(Image(np.zeros((500, 2000, 3), np.uint8)), places, side=200))
    assert small.shape == (50, 200, 3)


def test_weights_of_nothing_leave_all_equally_dark() -> None:
    shown = drawn(overlay(Image(np.full((20, 20, 3), 200, np.uint8)), [Place(0.0, (0.0, 0.0, 1.0, 1.0))]))
    assert np.ptp(shown, axis=(0, 1)).max() == 0


def test_of_a_clip_the_frame_with_the_weight_is_bright() -> None:
    clip = Video(np.full((5, 40, 60, 3), 128, np.uint8), 2.5)
    whole = (0.0, 0.0, 1.0, 1.0)
    places = [Place(0.8 if n == 4 else 0.05, whole, (n / 2.5, (n + 1) / 2.5)) for n in range(5)]
    shown = yellow(drawn(overlay(clip, places, side=248)))
    assert shown.shape == (2 * 40 + 2, 4 * 60 + 6)
    assert shown[45:80, 5:55].mean() > shown[:40].mean() + 50


def test_of_a_sound_the_stretch_with_the_weight_is_bright() -> None:
    sound = Audio(np.zeros(16_000, np.float32), 16_000)
    shown = yellow(
        drawn(overlay(sound, [Place(1.0, span=(0.5, 1.0)), Place(0.0, span=(0.0, 0.5))], side=400))
    )
    assert shown.shape == (100, 400)
    assert shown[:, 220:].mean() > shown[:, :180].mean() + 50


def test_a_text_has_no_picture() -> None:
    with pytest.raises(InvalidInput, match="to draw on"):
        overlay(Text("a"), [])
