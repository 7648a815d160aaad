"""How well near-duplicates are told from pictures that are only alike.

    python benchmarks/duplicates.py FOLDER [FOLDER …] [--most 1500] [--model FOLDER]

Every picture below the folders is compared with copies of itself (recompressed, made smaller, cropped,
brightened, turned) and with all the others. Prints, for the rule that searches use, the share of the
copies that count as the same picture, the number of different pairs that do, and which; see
docs/decisions/0022-near-duplicates.md.
"""

import argparse
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageEnhance

from chiasm import load
from chiasm.errors import ChiasmError
from chiasm.library.duplicates import LEAST_COSINE, same
from chiasm.media import decode, picture_fingerprint
from chiasm.modality import Image
from chiasm.settings import Limits
from chiasm.stores import SegmentRecord

Copier = Callable[[Pillow.Image], Pillow.Image]


def recompressed(kind: str, quality: int) -> Copier:
    """Through a lossy file."""

    def copy(picture: Pillow.Image) -> Pillow.Image:
        buffer = io.BytesIO()
        picture.save(buffer, kind, quality=quality)
        return Pillow.open(io.BytesIO(buffer.getvalue())).convert("RGB")

    return copy


def cropped(share: float) -> Copier:
    """Without so much of each side."""

    def copy(picture: Pillow.Image) -> Pillow.Image:
        x, y = round(picture.width * share), round(picture.height * share)
        return picture.crop((x, y, picture.width - x, picture.height - y))

    return copy


COPIES: Mapping[str, Copier] = {
    "JPEG, quality 30": recompressed("JPEG", 30),
    "WebP, quality 50": recompressed("WEBP", 50),
    "half the size": lambda p: p.resize((max(1, p.width // 2), max(1, p.height // 2))),
    "a quarter of the size": lambda p: p.resize((max(1, p.width // 4), max(1, p.height // 4))),
    "twice the size": lambda p: p.resize((p.width * 2, p.height * 2)),
    "cropped by 2 % a side": cropped(0.02),
    "cropped by 5 % a side": cropped(0.05),
    "cropped by 10 % a side": cropped(0.10),
    "brighter by 15 %": lambda p: ImageEnhance.Brightness(p).enhance(1.15),
    "grey": lambda p: p.convert("L").convert("RGB"),
    "mirrored": lambda p: p.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT),
}


def main() -> None:
    """Measure and print."""
    words = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=words)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=1500)
    parser.add_argument("--model", default=None)
    arguments = parser.parse_args()
    model = load(arguments.model)
    paths, pictures = chosen(arguments.folders, arguments.most)
    vectors = model.embed(pictures)
    segments = [segment_of(picture) for picture in pictures]
    print(f"{len(pictures)} pictures, and of each a copy that is")
    for name, copy in COPIES.items():
        copies = [Image(np.asarray(copy(Pillow.fromarray(p.pixels)), np.uint8)) for p in pictures]
        cosines = (model.embed(copies) * vectors).sum(axis=1)
        told = [same(segments[i], segment_of(c), float(cosines[i])) for i, c in enumerate(copies)]
        print(f"  {name:24} {np.mean(told):6.1%} told   cosine, median {np.median(cosines):.3f}")
    report_others(paths, vectors, segments)


def segment_of(picture: Image) -> SegmentRecord:
    """A picture as a search has it."""
    return SegmentRecord(
        id=0,
        file_id="",
        modality="image",
        ordinal=0,
        start=None,
        end=None,
        snippet=None,
        fingerprint=picture_fingerprint(picture),
    )


def chosen(folders: list[Path], most: int) -> tuple[list[Path], list[Image]]:
    """Pictures below the folders, at random but always the same."""
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    order = np.random.default_rng(0).permutation(len(paths))[:most]
    found = []
    for path in (paths[i] for i in order):
        try:
            part = decode(path, Limits())
        except ChiasmError:
            continue
        if isinstance(part, Image):
            found.append((path, part))
    return [path for path, _ in found], [part for _, part in found]


def report_others(paths: list[Path], vectors: np.ndarray, segments: list[SegmentRecord]) -> None:
    """How many pairs of different files count as the same picture, and which."""
    pairs = []
    for i in range(len(paths)):
        cosines = vectors[i + 1 :] @ vectors[i]
        for j in np.flatnonzero(cosines >= LEAST_COSINE["image"]):
            if same(segments[i], segments[i + 1 + j], float(cosines[j])):
                pairs.append((float(cosines[j]), paths[i].name, paths[i + 1 + j].name))
    total = len(paths) * (len(paths) - 1) // 2
    print(f"{len(pairs)} of {total} pairs of different files count as the same")
    for cosine, first, second in sorted(pairs, reverse=True)[:40]:
        print(f"  {cosine:.3f}  {first}  {second}")


if __name__ == "__main__":
    main()
