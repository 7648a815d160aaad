"""Drawings with transparent backgrounds: emoji families rendered from SVG, 3-D emoji, clip art.

Each family becomes ``{family}.npy`` (uint8 ``[n, 160, 160, 4]``, straight alpha, cropped to the drawing)
and ``{family}.json`` (for each row the concept's index, or for clip art its own title).
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chiasm.data.builders.concepts import Concept, by_codepoints, by_slug, codepoint_key
from chiasm.data.builders.sources import Sources

SIDE = 160
TRAIN_FAMILIES = ("noto", "twemoji", "fxemoji", "fluent-emoji", "fluent-emoji-flat", "emojione", "fluent-3d")
INK_FAMILIES = ("emojione-monotone", "fluent-emoji-high-contrast")
"""Emoji in one colour: for training too, but not where colours are taught."""
TITLED_FAMILIES = ("clipart", "glyphs")
"""Drawings that have a title of their own instead of an emoji's name."""
VALIDATION_FAMILY = "noto-v1"
TEST_FAMILY = "openmoji"

_NOISE_TITLE = re.compile(
    r"\d+[a-z]*$|^(by|the|a|ganson|architetto|francesco rollandi|jean victor balin|nicu buculei|01|02|bw|"
    r"color|colour|simple|clip ?art|icon|image|remix|version|v\d)$"
)


@dataclass(frozen=True, slots=True)
class Drawing:
    """Something to render: its label, and bytes that ``render`` makes an image file of."""

    label: Any
    render: Callable[[bytes], bytes] | None
    data: bytes


def drawings_of(family: str, sources: Sources, concepts: list[Concept]) -> Iterator[Drawing]:
    """The drawings of one emoji family, or of the clip art."""
    if family == "clipart":
        return _clipart(sources)
    if family == "fluent-3d":
        return _webp_family(sources, by_codepoints(concepts))
    return _svg_family(family, sources, by_slug(concepts))


def render(family: str, drawings: Iterable[Drawing], folder: Path, jobs: int | None = None) -> int:
    """Render what does not fail into ``folder``; returns how many. Skips work that is already done."""
    array_path, label_path = folder / f"{family}.npy", folder / f"{family}.json"
    if label_path.exists():
        return len(json.loads(label_path.read_text(encoding="utf-8")))
    drawings = list(drawings)
    kept: list[NDArray[np.uint8]] = []
    labels: list[Any] = []
    with ProcessPoolExecutor(jobs) as pool:
        for drawing, pixels in zip(drawings, pool.map(_pixels, drawings, chunksize=16), strict=True):
            if pixels is not None:
                kept.append(pixels)
                labels.append(drawing.label)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(array_path, np.stack(kept))
    label_path.write_text(json.dumps(labels, ensure_ascii=False), encoding="utf-8")
    return len(labels)


def _svg_family(family: str, sources: Sources, table: Mapping[str, int]) -> Iterator[Drawing]:
    icons = json.loads(
        (sources.package(f"@iconify-json/{family}") / "icons.json").read_text(encoding="utf-8")
    )
    seen: set[int] = set()
    for slug, icon in icons["icons"].items():
        concept = table.get(slug)
        if concept is None or concept in seen:
            continue
        seen.add(concept)
        yield Drawing(concept, render_svg, svg_document(icon, icons))


def svg_document(icon: Mapping[str, Any], icons: Mapping[str, Any]) -> bytes:
    """One icon of an Iconify set as a file; what it does not say of its box, the set says of all."""
    left, top = icon.get("left", 0), icon.get("top", 0)
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{SIDE * 2}" height="{SIDE * 2}">'
        f"{icon['body']}</svg>"
    ).encode()


def _webp_family(sources: Sources, table: Mapping[str, int]) -> Iterator[Drawing]:
    for path in sorted((sources.package("@lobehub/fluent-emoji-3d") / "assets").glob("*.webp")):
        concept = table.get(codepoint_key(path.stem))
        if concept is not None:
            yield Drawing(concept, None, path.read_bytes())


def _clipart(sources: Sources) -> Iterator[Drawing]:
    for path in sorted(sources.clipart.rglob("*.png")):
        title = title_of(path.stem)
        folder = path.relative_to(sources.clipart).parts[0]
        if title and folder not in {"shapes", "unsorted"} and path.stat().st_size < 2_000_000:
            yield Drawing({"title": title, "folder": folder}, None, path.read_bytes())


def title_of(stem: str) -> str:
    """A clip-art file's name without authors, numbers and versions: ``"red_apple_02"`` → ``"red apple"``."""
    words = re.split(r"[\s_\-.,]+", stem.lower())
    kept = [word for word in words if len(word) > 1 and word.isalpha() and not _NOISE_TITLE.search(word)]
    return " ".join(kept[:4]) if kept else ""


def render_svg(data: bytes) -> bytes:
    """SVG → PNG; what is drawn in the current colour is black."""
    import resvg_py  # noqa: PLC0415  (an extra, needed only where the corpus is built)

    return bytes(resvg_py.svg_to_bytes(svg_string=data.decode()))


def _pixels(drawing: Drawing) -> NDArray[np.uint8] | None:
    try:
        data = drawing.render(drawing.data) if drawing.render else drawing.data
        with Image.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > 25_000_000:
                return None
            picture = opened.convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return fit(picture)


def fit(picture: Image.Image) -> NDArray[np.uint8] | None:
    """Crop to what is drawn and fit it into SIDE x SIDE; None for an empty drawing."""
    box = picture.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 4:
        return None
    picture = picture.crop(box)
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Premultiplied while resizing, else the colour of transparent pixels bleeds into the edges.
    resized = picture.convert("RGBa").resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0).convert("RGBA")
    canvas = Image.new("RGBA", (SIDE, SIDE))
    canvas.paste(resized, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(canvas, dtype=np.uint8)
