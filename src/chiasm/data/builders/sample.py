"""The sample library that a new server starts with: pictures, sounds, spoken notes and clips.

``build_sample`` writes the same files each time from the sources in :mod:`.sources`; the notes beside them
are written by hand. All are openly licensed; NOTICE has the credits.
"""

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chiasm.data.builders.sample_clips import write_clip
from chiasm.data.builders.sample_list import CLIPS, PICTURES, SKETCH, SOUNDS, SPEECH, Scene, Sprite
from chiasm.data.builders.sample_sounds import play, say, write_sound
from chiasm.data.builders.sources import Sources
from chiasm.errors import DataError

SIDE = 360
"""Width and height of a sample picture."""
_RENDERED = 640


class Drawings:
    """Finds and renders drawings by ``family:slug``; every one is cropped to what is drawn."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._cached = cache(self._render)

    def get(self, name: str) -> Image.Image:
        """The RGBA drawing.

        Raises:
            DataError: the source has no such drawing.
        """
        return self._cached(name)

    def _render(self, name: str) -> Image.Image:
        family, slug = name.split(":", 1)
        picture = self._clipart(slug) if family == "clipart" else self._icon(family, slug)
        box = picture.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
        return picture.crop(box)

    def _clipart(self, stem: str) -> Image.Image:
        found = sorted(self._sources.clipart.rglob(f"{stem}.png"))
        if not found:
            raise DataError(
                f"expected {stem}.png in {self._sources.clipart}, found none",
                f"{self._sources.clipart} 中找不到 {stem}.png",
                param=stem,
            )
        with Image.open(found[0]) as opened:
            return opened.convert("RGBA")

    def _icon(self, family: str, slug: str) -> Image.Image:
        import resvg_py  # noqa: PLC0415  (an extra, needed only where the corpus is built)

        icons = json.loads(
            (self._sources.package(f"@iconify-json/{family}") / "icons.json").read_text("utf-8")
        )
        icon = icons["icons"].get(slug)
        if icon is None:
            raise DataError(
                f"expected an icon {slug} in {family}, found none", f"{family} 中没有图标 {slug}", param=slug
            )
        width = icon.get("width", icons.get("width", 16))
        height = icon.get("height", icons.get("height", 16))
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}" '
            f'width="{_RENDERED}" height="{_RENDERED}">{icon["body"]}</svg>'
        )
        with Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))) as opened:
            return opened.convert("RGBA")


def build_sample(folder: Path, sources: Sources) -> int:
    """Write pictures, sounds, speech and clips below ``folder``; returns how many files there are.

    Raises:
        DataError: a source is missing.
    """
    drawings = Drawings(sources)
    for kind in ("pictures", "sounds", "speech", "clips"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, scene in PICTURES.items():
        _save_picture(compose(scene, drawings), folder / "pictures" / name)
    for name, tune in SOUNDS.items():
        write_sound(folder / "sounds" / name, play(tune, sources.soundfont))
    for name, words in SPEECH.items():
        write_sound(folder / "speech" / name, say(words))
    for name, motions in CLIPS.items():
        write_clip(folder / "clips" / name, motions, drawings.get)
    return len(PICTURES) + len(SOUNDS) + len(SPEECH) + len(CLIPS)


def compose(scene: Scene, drawings: Drawings) -> Image.Image:
    """The RGB picture of a scene, SIDE x SIDE."""
    canvas = gradient(scene.top, scene.bottom, SIDE, SIDE)
    for sprite in scene.sprites:
        paste(canvas, drawings.get(sprite.drawing), sprite)
    return canvas


def gradient(top: tuple[int, int, int], bottom: tuple[int, int, int], width: int, height: int) -> Image.Image:
    """An RGB picture that goes from one colour to another."""
    share: NDArray[np.float64] = np.linspace(0, 1, height)[:, None]
    rows = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
    pixels = np.repeat(rows[:, None, :], width, axis=1).round().astype(np.uint8)
    return Image.fromarray(pixels, "RGB")


def paste(canvas: Image.Image, drawing: Image.Image, sprite: Sprite) -> None:
    """Draw into ``canvas``; the longer side gets ``sprite.size`` of the canvas's shorter side."""
    scale = sprite.size * min(canvas.size) / max(drawing.size)
    size = (max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale)))
    # Premultiplied while resizing, else the colour of transparent pixels bleeds into the edges.
    small = drawing.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    corner = (round(sprite.x * canvas.width - size[0] / 2), round(sprite.y * canvas.height - size[1] / 2))
    canvas.paste(small, corner, small)


def _save_picture(picture: Image.Image, path: Path) -> None:
    if path.name in SKETCH:
        picture.convert("L").quantize(8).save(path, optimize=True)
    elif path.suffix == ".jpg":
        picture.save(path, quality=88, optimize=True)
    else:
        picture.save(path, quality=86, method=6)
