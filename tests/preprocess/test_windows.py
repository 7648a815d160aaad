"""Windows cover a thing, are what they say they are, and of those that overlap the best is kept."""

import numpy as np
import pytest

from chiasm.errors import InvalidInput
from chiasm.modality import Audio, Image, Text, Video
from chiasm.preprocess.windows import MOST, Window, apart, windows_of


def test_squares_cover_the_picture_and_are_cut_where_they_say() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8)
    windows = windows_of(Image(pixels))
    covered = np.zeros((120, 200), bool)
    for window in windows:
        assert window.box is not None
        left, top, right, bottom = (
            round(edge * size) for edge, size in zip(window.box, (200, 120, 200, 120), strict=True)
        )
        assert isinstance(window.part, Image)
        np.testing.assert_array_equal(window.part.pixels, pixels[top:bottom, left:right])
        covered[top:bottom, left:right] = True
    assert covered.all()
    assert len({window.part.pixels.shape[0] for window in windows}) == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(20, 20, 3), (1, 300, 3), (40, 4000, 3), (3000, 50, 3)])
def test_odd_pictures_have_windows_and_not_too_many(shape: tuple[int, ...]) -> None:
    windows = windows_of(Image(np.zeros(shape, np.uint8)))
    assert 1 <= len(windows) <= MOST


def test_stretches_of_sound_and_of_clips_are_cut_where_they_say() -> None:
    samples = np.linspace(-1, 1, 80_000).astype(np.float32)
    for window in windows_of(Audio(samples, 16_000)):
        assert window.span is not None
        assert isinstance(window.part, Audio)
        start, end = (round(edge * 16_000) for edge in window.span)
        np.testing.assert_array_equal(window.part.samples, samples[start:end])
    frames = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    clip = Video(frames, 2.0, Audio(samples, 16_000))
    for window in windows_of(clip):
        assert window.span is not None
        assert isinstance(window.part, Video)
        assert window.part.frames[0, 0, 0, 0] == round(2 * window.span[0])
        assert window.part.sound is None or window.part.sound.seconds == pytest.approx(
            min(5.0, window.span[1]) - window.span[0], abs=0.01
        )


def test_what_is_long_has_no_more_windows_than_are_worth_it_and_what_is_short_has_one() -> None:
    assert len(windows_of(Audio(np.zeros(16_000 * 120, np.float32), 16_000))) <= MOST
    short = windows_of(Audio(np.zeros(8000, np.float32), 16_000))
    assert [window.span for window in short] == [(0.0, 0.5)]
    with pytest.raises(InvalidInput, match="to look in"):
        windows_of(Text("a"))


def test_of_those_that_overlap_the_best_is_kept() -> None:
    part = Text("x")
    windows = [
        Window(part, box=(0.0, 0.0, 0.5, 0.5)),
        Window(part, box=(0.1, 0.1, 0.5, 0.5)),
        Window(part, box=(0.6, 0.6, 1.0, 1.0)),
    ]
    assert apart(windows, np.array([0.5, 0.9, 0.7]), 5) == [1, 2]
    assert apart(windows, np.array([0.5, 0.9, 0.7]), 1) == [1]
    spans = [Window(part, span=(0.0, 2.0)), Window(part, span=(1.0, 3.0)), Window(part, span=(3.0, 4.0))]
    assert apart(spans, np.array([0.3, 0.2, 0.1]), 5) == [0, 2]
