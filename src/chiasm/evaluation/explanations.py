"""Whether explanations show what a model's answers rest on, on scenes of four drawings.

Pointing: how often the box of the thing that was named holds at least half of the weight; chance is the
same weights at other places. Faithfulness (Petsiuk et al. 2018, sec. 3.2): the cosine as places are blurred
in the order of their weights (deletion: the lower the better), and as they come back into a blurred scene
(insertion: the higher the better); their difference, each as the mean over the curve.

Locating: how often the middle of the best box lies in that of the thing; chance is the share of the scene
that those boxes cover.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

from chiasm.data.builders.views import plain_view
from chiasm.evaluation.material import Evaluated, Material
from chiasm.evaluation.mixed import objects_of
from chiasm.evaluation.report import Row, Target, measured
from chiasm.inference import Located
from chiasm.modality import Image
from chiasm.preprocess.explained import Explained, Spot
from chiasm.preprocess.places import Box

GROUP = "explanations"
SCENES = 60
SIDE = 384
STEPS = 9
METHODS = ("contribution", "relevance", "rollout", "attention", "gradient")
RANDOM = "random"


class Explains(Evaluated, Protocol):
    """A model that also says where it looked."""

    def explain(self, value: object, target: object, *, method: str = "contribution") -> Explained:
        """Weights of the parts of a picture."""

    def locate(self, value: object, query: object, *, most: int = 5) -> list[Located]:
        """Boxes in a picture, the best one first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Drawings side by side on a soft background: pixels, and the name and the box of each thing."""

    pixels: NDArray[np.uint8]
    names: Sequence[str]
    boxes: Sequence[Box]


def explanations(material: Material) -> list[Row]:
    """Pointing and faithfulness of every method."""
    assert hasattr(material.model, "explain")
    model = cast(Explains, material.model)
    scenes = compose(material, material.count(SCENES))
    if not scenes:
        return []
    rng = material.rng("explanations")
    rows = [*_pointing(model, scenes, rng), _locating(model, scenes)]
    curves = {method: np.zeros((len(scenes), 2)) for method in (*METHODS, RANDOM)}
    for n, scene in enumerate(scenes):
        name = scene.names[0]
        wanted = model.embed([name])[0]
        spots = {method: model.explain(Image(scene.pixels), name, method=method).input for method in METHODS}
        spots[RANDOM] = [spot._replace(weight=float(rng.random())) for spot in spots[METHODS[0]]]
        for method, own in spots.items():
            curves[method][n] = curve(model, scene.pixels, own, wanted)
    differences = {method: found[:, 1] - found[:, 0] for method, found in curves.items()}
    for method in METHODS:
        rows.append(
            measured(
                GROUP,
                f"insertion less deletion, {method}",
                differences[method],
                baselines={
                    "deletion": float(curves[method][:, 0].mean()),
                    "insertion": float(curves[method][:, 1].mean()),
                    RANDOM: float(differences[RANDOM].mean()),
                    "gradient": float(differences["gradient"].mean()),
                },
                unit="cosine",
            )
        )
    return rows


def _pointing(model: Explains, scenes: Sequence[Scene], rng: np.random.Generator) -> list[Row]:
    rows = []
    for method in METHODS:
        hits, lucky = [], []
        for scene in scenes:
            for name, box in zip(scene.names, scene.boxes, strict=True):
                spots = model.explain(Image(scene.pixels), name, method=method).input
                weights = rng.permutation([spot.weight for spot in spots])
                moved = [spot._replace(weight=float(w)) for spot, w in zip(spots, weights, strict=True)]
                hits.append(inside(spots, box) >= 0.5)
                lucky.append(inside(moved, box) >= 0.5)
        chance = float(np.mean(lucky))
        rows.append(
            measured(
                GROUP,
                f"half of the weight in the box, {method}",
                np.asarray(hits, np.float64),
                chance=chance,
                target=Target(least=chance + 0.3) if method == METHODS[0] else None,
            )
        )
    return rows


def _locating(model: Explains, scenes: Sequence[Scene]) -> Row:
    hits, shares = [], []
    for scene in scenes:
        name, (left, top, right, bottom) = scene.names[0], scene.boxes[0]
        box = model.locate(Image(scene.pixels), name, most=1)[0].box
        assert box is not None
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        hits.append(left <= x <= right and top <= y <= bottom)
        shares.append((right - left) * (bottom - top))
    return measured(
        GROUP,
        "middle of the best box within the thing",
        np.asarray(hits, np.float64),
        chance=float(np.mean(shares)),
    )


def inside(spots: Sequence[Spot], box: Box) -> float:
    """The share of the weight that lies in a box."""
    total = 0.0
    for spot in spots:
        if spot.box is not None:
            left, top, right, bottom = spot.box
            across = max(0.0, min(right, box[2]) - max(left, box[0]))
            down = max(0.0, min(bottom, box[3]) - max(top, box[1]))
            area = (right - left) * (bottom - top)
            total += spot.weight * across * down / area if area else 0.0
    return total


def curve(
    model: Evaluated, pixels: NDArray[np.uint8], spots: Sequence[Spot], wanted: NDArray[np.float32]
) -> tuple[float, float]:
    """Mean cosines with ``wanted`` under deletion and under insertion."""
    side = max(pixels.shape[:2])
    blurred = np.asarray(Pillow.fromarray(pixels).filter(ImageFilter.GaussianBlur(side / 12)))
    order = sorted(range(len(spots)), key=lambda n: -spots[n].weight)
    pictures = []
    for step in range(STEPS):
        kept = pixels.copy(), blurred.copy()
        for n in order[: round(len(order) * step / (STEPS - 1))]:
            box = spots[n].box
            if box is not None:
                where = _cut(box, pixels.shape)
                kept[0][where], kept[1][where] = blurred[where], pixels[where]
        pictures += [Image(one) for one in kept]
    cosines = model.embed(pictures) @ wanted
    return float(cosines[0::2].mean()), float(cosines[1::2].mean())


def compose(material: Material, count: int) -> list[Scene]:
    """Scenes of four different everyday things each, from the split's drawings."""
    things = objects_of(material)
    rng = material.rng("scenes")
    if len(things) < 4:
        return []
    return [_scene(material, rng.permutation(things)[:4].tolist(), rng) for _ in range(count)]


def _scene(material: Material, things: Sequence[int], rng: np.random.Generator) -> Scene:
    # a border of one colour would be taken for the paper of a drawing, and cut away
    shade = np.linspace(225, 255, SIDE)[None, :, None] - np.linspace(0, 20, SIDE)[:, None, None]
    pixels = np.broadcast_to(shade, (SIDE, SIDE, 3)).astype(np.uint8)
    boxes: list[Box] = []
    half = SIDE // 2
    for cell, thing in enumerate(things):
        side = int(half * rng.uniform(0.7, 0.95))
        left, top = (half * part + int(rng.integers(0, half - side + 1)) for part in (cell % 2, cell // 2))
        drawing = np.asarray(plain_view(material.gallery.sprite(material.family, thing), side))
        where = pixels[top : top + side, left : left + side]
        where[:] = np.minimum(where, drawing)  # its white paper is not seen
        boxes.append((left / SIDE, top / SIDE, (left + side) / SIDE, (top + side) / SIDE))
    names = [
        material.concepts[material.gallery.concept(material.family, thing)].en[0].lower() for thing in things
    ]
    return Scene(pixels=pixels, names=names, boxes=boxes)


def _cut(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    height, width = shape[:2]
    left, top, right, bottom = box
    return (
        slice(round(top * height), round(bottom * height)),
        slice(round(left * width), round(right * width)),
    )
