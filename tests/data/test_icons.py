"""Drawings: cropped, fitted, titled, and matched to concepts."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chiasm.data.builders.concepts import Concept
from chiasm.data.builders.icons import SIDE, drawings_of, fit, render, title_of
from chiasm.data.builders.sources import Sources
from tiny_corpus import disc, tiny_concepts


@pytest.mark.parametrize(
    ("stem", "title"),
    [
        ("red_apple_02", "red apple"),
        ("Red-Apple_by_Ganson", "red apple"),
        ("house_clipart_v2", "house"),
        ("the_old_lighthouse,by,sea,at,night", "old lighthouse sea at"),
        ("01", ""),
        ("a_b_c", ""),
    ],
)
def test_titles_are_without_authors_numbers_and_versions(stem: str, title: str) -> None:
    assert title_of(stem) == title


def test_a_drawing_is_cropped_centred_and_keeps_its_shape() -> None:
    canvas = Image.new("RGBA", (300, 200))
    canvas.paste((10, 200, 30, 255), (40, 90, 120, 130))  # 80 x 40
    fitted = fit(canvas)
    assert fitted is not None
    assert (fitted.shape, fitted.dtype) == ((SIDE, SIDE, 4), np.uint8)
    rows, columns = np.nonzero(fitted[..., 3] > 128)
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (SIDE, SIDE // 2)
    assert abs(rows.mean() - (SIDE - 1) / 2) <= 1
    assert np.abs(fitted[SIDE // 2, SIDE // 2].astype(int) - (10, 200, 30, 255)).max() <= 2


def test_transparent_colour_does_not_bleed_into_the_edge() -> None:
    pixels = np.zeros((64, 64, 4), dtype=np.uint8)
    pixels[...] = (255, 0, 0, 0)  # red, but invisible
    pixels[16:48, 16:40] = (0, 0, 255, 255)
    fitted = fit(Image.fromarray(pixels, "RGBA"))
    assert fitted is not None
    assert fitted[fitted[..., 3] > 20][:, 0].max() < 30


@pytest.mark.parametrize("size", [(0, 0), (40, 2)])
def test_an_empty_drawing_is_none(size: tuple[int, int]) -> None:
    canvas = Image.new("RGBA", (64, 64))
    canvas.paste((0, 0, 0, 255), (5, 5, 5 + size[0], 5 + size[1]))
    assert fit(canvas) is None


def png(sprite: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(sprite, "RGBA").save(file, "PNG")
    return file.getvalue()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def build_family(family: str, sources: Sources, concepts: list[Concept], folder: Path) -> int:
    return render(family, drawings_of(family, sources, concepts), folder, jobs=1)


def test_clip_art_is_labelled_by_title_and_bad_files_are_left_out(tmp_path: Path) -> None:
    art = tmp_path / "art"
    write(art / "animals" / "brown_bear_01.png", png(disc()))
    write(art / "animals" / "0042.png", png(disc()))  # no title
    write(art / "animals" / "broken_bear.png", b"not a picture")
    write(art / "shapes" / "round_thing.png", png(disc()))
    sources = Sources(npm=tmp_path, clipart=art)
    assert build_family("clipart", sources, [], tmp_path / "out") == 1
    labels = json.loads((tmp_path / "out" / "clipart.json").read_text(encoding="utf-8"))
    assert labels == [{"title": "brown bear", "folder": "animals"}]
    assert np.load(tmp_path / "out" / "clipart.npy").shape == (1, SIDE, SIDE, 4)
    write(art / "animals" / "white_bear.png", png(disc()))
    assert build_family("clipart", sources, [], tmp_path / "out") == 1, "what is there is not built again"


def test_three_dimensional_emoji_are_matched_by_code_point(tmp_path: Path) -> None:
    assets = tmp_path / "node_modules" / "@lobehub" / "fluent-emoji-3d" / "assets"
    for stem in ("1f41d", "1f600"):
        write(assets / f"{stem}.webp", png(disc()))
    assert build_family("fluent-3d", Sources(npm=tmp_path), tiny_concepts(), tmp_path / "out") == 1
    assert json.loads((tmp_path / "out" / "fluent-3d.json").read_text(encoding="utf-8")) == [2]  # the bee


def test_an_svg_family_draws_each_known_concept_once(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    square = '<rect x="4" y="4" width="8" height="8" fill="#00f"/>'
    icons = {"dog": {"body": square}, "cat": {"body": square, "width": 32}, "unicorn": {"body": square}}
    path = tmp_path / "node_modules" / "@iconify-json" / "noto" / "icons.json"
    write(path, json.dumps({"icons": icons, "width": 16, "height": 16}).encode())
    assert build_family("noto", Sources(npm=tmp_path), tiny_concepts(), tmp_path / "out") == 2
    assert json.loads((tmp_path / "out" / "noto.json").read_text(encoding="utf-8")) == [1, 0]
    drawn = np.load(tmp_path / "out" / "noto.npy")
    assert drawn[0, SIDE // 2, SIDE // 2].tolist() == [0, 0, 255, 255]
