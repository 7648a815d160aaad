"""Words in pictures, by the real models."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from chiasm.media import TextReader, blocks, can_read, ocr
from chiasm.media.ocr import Words

LINES = {"Invoice 2026-118": (80, 60), "Total due: 42.50 EUR": (80, 120), "Harbour Street": (560, 420)}


def picture_of(lines: dict[str, tuple[int, int]], size: int = 32) -> tuple[np.ndarray, dict[str, tuple]]:
    """A picture of 900x600 with these lines, and the box of each in pixels."""
    picture = Image.new("RGB", (900, 600), (246, 243, 230))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    for text, place in lines.items():
        draw.text(place, text, font=font, fill=(20, 20, 40))
    return np.asarray(picture), {text: draw.textbbox(place, text, font=font) for text, place in lines.items()}


def overlap(a: tuple, b: tuple) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.fixture(scope="module")
def reader() -> Iterator[TextReader]:
    assert can_read()
    opened = TextReader()
    yield opened
    opened.close()


def test_lines_are_read_where_they_stand(reader: TextReader) -> None:
    pixels, boxes = picture_of(LINES)
    found = reader.read(pixels)
    assert [words.text for words in found] == list(LINES)
    for words in found:
        scaled = tuple(np.array(words.box) * (900, 600, 900, 600))
        assert overlap(scaled, boxes[words.text]) > 0.5


def test_what_stands_together_is_one_block(reader: TextReader) -> None:
    pixels, _ = picture_of(LINES)
    found = blocks(reader.read(pixels), 480)
    assert [words.text for words in found] == ["Invoice 2026-118\nTotal due: 42.50 EUR", "Harbour Street"]
    assert all(
        0 <= left < right <= 1 and 0 <= top < bottom <= 1
        for left, top, right, bottom in (w.box for w in found)
    )
    assert len(blocks(reader.read(pixels), 20)) == 3, "a block does not get longer than a passage"


@pytest.mark.parametrize("shape", [(300, 400, 3), (1, 1, 3), (2, 3000, 3), (3000, 5, 3)])
def test_pictures_without_words_give_none(reader: TextReader, shape: tuple) -> None:
    assert reader.read(np.full(shape, 200, np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert blocks(reader.read(noise), 480) == []


def line(text: str, left: float, top: float, right: float, bottom: float) -> Words:
    return Words(text=text, box=(left, top, right, bottom))


def test_columns_stay_apart_and_specks_are_left_out() -> None:
    found = blocks(
        [
            line("left one", 0.1, 0.10, 0.4, 0.15),
            line("right one", 0.6, 0.11, 0.9, 0.16),
            line("left two", 0.1, 0.17, 0.3, 0.22),
            line("right two", 0.6, 0.18, 0.9, 0.23),
            line("left far below", 0.1, 0.80, 0.3, 0.85),
            line("+.", 0.5, 0.90, 0.6, 0.95),
        ],
        480,
    )
    assert [words.text for words in found] == ["left one\nleft two", "right one\nright two", "left far below"]
    assert found[0].box == (0.1, 0.10, 0.4, 0.22)


def test_a_process_that_has_ended_is_replaced(reader: TextReader) -> None:
    pixels, _ = picture_of(LINES)
    expected = reader.read(pixels)
    os.kill(reader._process.pid, signal.SIGKILL)
    assert reader.read(pixels) == expected


def test_a_process_that_hangs_is_given_up_and_the_next_picture_is_read(
    reader: TextReader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pixels, _ = picture_of(LINES)
    expected = reader.read(pixels)
    monkeypatch.setattr(ocr, "PATIENCE", 0.2)
    os.kill(reader._process.pid, signal.SIGSTOP)
    assert reader.read(pixels) == []
    assert "it took nothing for 0.2 s" in caplog.text
    monkeypatch.undo()
    assert reader.read(pixels) == expected


def test_the_process_ends_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "IDLE", 0.1)
    reader, (pixels, _) = TextReader(), picture_of(LINES)
    first = reader.read(pixels)
    assert reader._process.wait(10) == 0
    assert reader.read(pixels) == first
    reader.close()


def test_the_models_come_with_the_package() -> None:
    import rapidocr

    models = list((Path(rapidocr.__file__).parent / "models").glob("*.onnx"))
    assert len(models) == 3, "detection, orientation and recognition"
