"""A clip keeps its motion: borders are cut from pictures, not from frames."""

import numpy as np

from chiasm.modality import Image, Video, item_of
from chiasm.preprocess import ModelDescription, Preprocessor


def preprocessor() -> Preprocessor:
    return Preprocessor(ModelDescription(name="m", revision="r", dimensions=4))


def square_at(left: int) -> np.ndarray:
    frame = np.full((192, 192, 3), 255, dtype=np.uint8)
    frame[80:112, left : left + 32] = 0
    return frame


def test_what_moves_in_a_clip_still_moves_when_it_is_prepared() -> None:
    clip = Video(np.stack([square_at(left) for left in range(10, 150, 20)]), 4.0)
    frames = preprocessor().prepare(item_of(clip)).parts[0].arrays["pixels"]
    middles = [float(np.argwhere(frame.mean(axis=-1) < 128)[:, 1].mean()) for frame in frames]
    assert middles[-1] - middles[0] > 100


def test_a_picture_is_still_cut_to_what_is_drawn() -> None:
    pixels = preprocessor().prepare(item_of(Image(square_at(10)))).parts[0].arrays["pixels"]
    assert (pixels.mean(axis=-1) < 128).mean() > 0.5
