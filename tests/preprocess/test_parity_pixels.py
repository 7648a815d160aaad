"""From the bytes of a file to a model's pixels, beside the reference's Pillow backend: 200 varied pictures.

The reference takes an upright RGB picture. What it is given is converted as we hold to be right: transparency
on white and 16 bits scaled, where ``convert("RGB")`` drops the one and cuts off the other.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from chiasm.checkpoints.foreign import read_image_numbers
from chiasm.media import decode
from chiasm.modality import Image
from chiasm.preprocess.image import ImagePreprocessor
from chiasm.settings import Limits

COUNT = 200
SIZES = (
    (1, 1),
    (2, 1),
    (3, 2),
    (1, 90),
    (120, 2),
    (31, 30),
    (64, 48),
    (97, 203),
    (224, 224),
    (333, 51),
    (640, 427),
)
MODES = ("RGB", "L", "P", "1", "LA", "RGBA", "CMYK", "I;16")
FORMATS = {
    "RGB": ("JPEG", "PNG", "WEBP", "BMP", "GIF"),
    "L": ("JPEG", "PNG", "BMP"),
    "P": ("PNG", "GIF", "BMP"),
    "1": ("PNG", "BMP"),
    "LA": ("PNG",),
    "RGBA": ("PNG", "WEBP"),
    "CMYK": ("JPEG",),
    "I;16": ("PNG",),
}
CLIP = {
    "do_resize": True, "size": {"shortest_edge": 224}, "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224}, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711], "do_convert_rgb": True,
}  # fmt: skip
SQUASH = {
    "do_resize": True, "size": {"height": 192, "width": 192}, "resample": 2, "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
}  # fmt: skip
KINDS = {
    "clip": (CLIPImageProcessorPil, CLIP),
    "chinese_clip": (CLIPImageProcessorPil, {**CLIP, "size": {"shortest_edge": 256}}),
    "siglip": (SiglipImageProcessorPil, {**SQUASH, "resample": 3}),
    "vit": (ViTImageProcessorPil, SQUASH),
}


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    upright: Pillow.Image


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(5)
    for number in range(COUNT):
        mode = MODES[number % len(MODES)]
        kind = FORMATS[mode][(number // len(MODES)) % len(FORMATS[mode])]
        size = (4000, 3000) if number == 40 else SIZES[int(rng.integers(len(SIZES)))]
        orientation = number % 9 if kind in {"JPEG", "PNG", "WEBP"} else 0
        yield case(picture(mode, size, rng), kind, orientation)


def picture(mode: str, size: tuple[int, int], rng: np.random.Generator) -> Pillow.Image:
    """Smooth shapes with some noise, as photographs have."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(x / rng.uniform(2, 60) + y / rng.uniform(2, 60) + c) for c in range(4)]
    noise = rng.normal(0, 12, (height, width, 4))
    values = np.clip(127 + 110 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)
    if mode == "I;16":
        deep = (values[..., 0].astype(np.uint16) << 8) | values[..., 1]
        return Pillow.fromarray(deep)
    if mode == "LA":
        return Pillow.fromarray(np.ascontiguousarray(values[..., :2]), "LA")
    if mode in {"RGBA", "CMYK"}:
        return Pillow.fromarray(values, mode)
    made = Pillow.fromarray(np.ascontiguousarray(values[..., :3]))
    if mode == "P":
        made = made.quantize(64)
        if rng.random() < 0.5:
            made.info["transparency"] = 3
        return made
    return made.convert(mode)


def case(made: Pillow.Image, kind: str, orientation: int) -> Case:
    buffer = io.BytesIO()
    options: dict[str, object] = {}
    if orientation:
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    if "transparency" in made.info:
        options["transparency"] = made.info["transparency"]
    made.save(buffer, kind, **options)
    name = f"{made.mode} {made.size} {kind} {orientation}"
    return Case(name, buffer.getvalue(), expected(buffer.getvalue()))


def expected(data: bytes) -> Pillow.Image:
    upright = ImageOps.exif_transpose(Pillow.open(io.BytesIO(data)))
    if upright.mode.startswith("I"):
        return Pillow.fromarray((np.asarray(upright) / 257).round().astype(np.uint8)).convert("RGB")
    if upright.has_transparency_data:
        ground = Pillow.new("RGBA", upright.size, "white")
        return Pillow.alpha_composite(ground, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")


@pytest.fixture(scope="module")
def pictures() -> list[Case]:
    return list(cases())


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_the_references(kind: str, pictures: list[Case], tmp_path: Path) -> None:
    make, numbers = KINDS[kind]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(numbers))
    reference = make(**numbers)
    config = read_image_numbers(tmp_path)
    prepare = ImagePreprocessor(config.preprocess)
    mean, std = np.array(config.mean), np.array(config.std)
    worst: list[tuple[float, str]] = []
    for one in pictures:
        part = decode(one.data, Limits())
        assert isinstance(part, Image)
        ours = (prepare(part.pixels) / 255 - mean) / std
        theirs = np.asarray(reference(one.upright, return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)
        assert ours.shape == theirs.shape, one.name
        worst.append((float((np.abs(ours - theirs) * std).max()) * 255, one.name))
    assert len(worst) == COUNT
    assert max(worst)[0] <= 1 + 1e-3, sorted(worst)[-5:]


def test_the_pictures_are_varied(pictures: list[Case]) -> None:
    assert len({one.data for one in pictures}) > COUNT - 5  # there are only so many of one pixel
    assert len({one.name.rpartition(" ")[2] for one in pictures}) == 9
    assert {one.name.partition(" ")[0] for one in pictures} == {*MODES}
    assert max(one.upright.size for one in pictures)[0] >= 3000
