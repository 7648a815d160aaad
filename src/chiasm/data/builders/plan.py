"""The plan of the picture corpus: which views are made of which drawings, decided once from a seed.

A :class:`ViewSpec` says all that is needed to paint one view, so that the picture need not be stored and
any process can paint any of them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.concepts import Concept
from chiasm.data.builders.icons import (
    INK_FAMILIES,
    TEST_FAMILY,
    TITLED_FAMILIES,
    TRAIN_FAMILIES,
    VALIDATION_FAMILY,
)
from chiasm.data.builders.palette import COLOURS
from chiasm.data.builders.views import (
    Pixels,
    ViewConfig,
    coloured_view,
    filled_view,
    inked_view,
    plain_view,
    scene_view,
    varied_view,
)
from chiasm.data.splits import held_out

Alone = Literal["varied", "inked", "filled"]
Kind = Alone | Literal["plain", "coloured", "scene"]
STYLED: Mapping[Kind, Callable[..., Pixels]] = {
    "varied": varied_view,
    "inked": inked_view,
    "filled": filled_view,
}
ALONE: frozenset[Kind] = frozenset({"plain", *STYLED})
"""Views of one thing as it is called."""
# Mirrored, these would no longer show what they are called.
_HANDED = (
    "left",
    "right",
    "arrow",
    "clock",
    "latin",
    "japanese",
    "button",
    "letter",
    "number",
    "keycap",
    "o’clock",
)


@dataclass(frozen=True, slots=True)
class Placed:
    """One sprite in a scene: its drawing and where its centre lies, in fractions of the picture."""

    family: str
    row: int
    concept: int
    scale: float = 0.94
    x: float = 0.5
    y: float = 0.5
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """One view to paint. ``split`` is train, validation or test."""

    kind: Kind
    split: str
    seed: int
    placed: tuple[Placed, ...]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ViewSpec":
        placed = tuple(Placed(**p) for p in values["placed"])
        return cls(kind=values["kind"], split=values["split"], seed=values["seed"], placed=placed)


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """How many views of each kind: of emoji in colour (icons) and in ink, clip art and glyphs.

    ``rounds``: how often all that chance has a part in is painted for training; a machine that trains longer
    wants more.
    """

    varied_per_icon: int = 3
    inked_per_icon: int = 1
    varied_per_ink: int = 1
    filled_per_ink: int = 2
    filled_per_glyph: int = 1
    coloured: int = 6000
    scenes: int = 9000
    held_scenes: int = 1000
    rounds: int = 1
    seed: int = 20261123


class Gallery:
    """The drawings on disk: ``sprite(family, row)`` and the concept of each row (-1 for clip art)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labels: dict[str, list[Any]] = {}
        self._arrays: dict[str, NDArray[np.uint8]] = {}
        for path in sorted(folder.glob("*.json")):
            self.labels[path.stem] = json.loads(path.read_text(encoding="utf-8"))

    def sprite(self, family: str, row: int) -> Pixels:
        """uint8 ``[160, 160, 4]``."""
        if family not in self._arrays:
            self._arrays[family] = np.load(self.folder / f"{family}.npy", mmap_mode="r")
        return np.asarray(self._arrays[family][row])

    def concept(self, family: str, row: int) -> int:
        """Index of the concept that the row depicts, -1 if it has only a title of its own."""
        label = self.labels[family][row]
        return label if isinstance(label, int) else -1


def paint(spec: ViewSpec, gallery: Gallery, concepts: list[Concept], config: ViewConfig) -> Pixels:
    """The picture ``[side, side, 3]`` that a spec describes."""
    rng = np.random.default_rng(spec.seed)
    first = spec.placed[0]
    sprite = gallery.sprite(first.family, first.row)
    if spec.kind == "plain":
        return plain_view(sprite, config.side)
    if spec.kind in STYLED:
        name = concepts[first.concept].name if first.concept >= 0 else ""
        may_flip = not any(word in name for word in _HANDED)
        return STYLED[spec.kind](sprite, rng, config, may_flip=may_flip)
    if spec.kind == "coloured":
        return coloured_view(sprite, first.colour or "red", rng, config)
    members = [(gallery.sprite(p.family, p.row), p.scale, p.x, p.y) for p in spec.placed]
    return scene_view(members, rng, config)


def make_plan(gallery: Gallery, concepts: list[Concept], config: PlanConfig) -> list[ViewSpec]:
    """All views, the most useful first, so that training can start on the beginning of the list."""
    rng = np.random.default_rng(config.seed)
    plan: list[ViewSpec] = []

    def add(kind: Kind, split: str, *placed: Placed) -> None:
        plan.append(ViewSpec(kind, split, int(rng.integers(2**31)), placed))

    train, ink = (_known(families, gallery, concepts) for families in (TRAIN_FAMILIES, INK_FAMILIES))
    order = rng.permutation(len(train))
    train = [train[i] for i in order]
    for family, split in ((VALIDATION_FAMILY, "validation"), (TEST_FAMILY, "test")):
        for row in range(len(gallery.labels[family])):
            add("plain", split, Placed(family, row, gallery.concept(family, row)))
    for placed in train:
        add("plain", "train", placed)
    _add_styled(plan, train, rng, 1)
    for _ in range(config.coloured):
        base = train[int(rng.integers(len(train)))]
        colour = str(rng.choice(list(COLOURS)))
        add("coloured", "train", Placed(base.family, base.row, base.concept, colour=colour))
    for _ in range(config.scenes):
        add("scene", "train", *_scene(train, rng))
    validation = [p.placed[0] for p in plan if p.split == "validation"]
    for _ in range(config.held_scenes):
        add("scene", "validation", *_scene(validation, rng))
    _add_styled(plan, train, rng, config.varied_per_icon - 1)
    titled = {f: [Placed(f, row, -1) for row in range(len(gallery.labels[f]))] for f in TITLED_FAMILIES}
    for placed in (*titled["clipart"], *titled["glyphs"], *ink):
        add("plain", "train", placed)
    _add_styled(plan, train, rng, config.inked_per_icon, "inked")
    _add_styled(plan, ink, rng, config.varied_per_ink)
    _add_styled(plan, ink, rng, config.filled_per_ink, "filled")
    _add_styled(plan, titled["glyphs"], rng, config.filled_per_glyph, "filled")
    once = [view for view in plan if view.split == "train" and view.kind != "plain"]
    for _ in range(config.rounds - 1):
        plan.extend(replace(view, seed=int(rng.integers(2**31))) for view in once)
    return plan


def _known(families: Sequence[str], gallery: Gallery, concepts: list[Concept]) -> list[Placed]:
    """The drawings of all concepts that are not held out."""
    placed = [
        Placed(f, row, gallery.concept(f, row)) for f in families for row in range(len(gallery.labels[f]))
    ]
    return [p for p in placed if not held_out(concepts[p.concept].name)]


def _add_styled(
    plan: list[ViewSpec],
    drawings: list[Placed],
    rng: np.random.Generator,
    times: int,
    kind: Alone = "varied",
) -> None:
    for _ in range(times):
        plan.extend(ViewSpec(kind, "train", int(rng.integers(2**31)), (d,)) for d in drawings)


def _scene(drawings: list[Placed], rng: np.random.Generator) -> tuple[Placed, ...]:
    """Two or three different things side by side or one above the other."""
    count = 2 if rng.random() < 0.75 else 3
    chosen: list[Placed] = []
    while len(chosen) < count:
        candidate = drawings[int(rng.integers(len(drawings)))]
        if candidate.concept not in {c.concept for c in chosen}:
            chosen.append(candidate)
    along = (np.arange(count) + 0.5) / count + rng.uniform(-0.04, 0.04, count)
    across = 0.5 + rng.uniform(-0.16, 0.16, count)
    upright = rng.random() < 0.35
    scale = (0.52 if count == 2 else 0.36) * rng.uniform(0.8, 1.1)
    return tuple(
        Placed(
            c.family,
            c.row,
            c.concept,
            scale=float(scale),
            x=float(across[i] if upright else along[i]),
            y=float(along[i] if upright else across[i]),
        )
        for i, c in enumerate(chosen)
    )


def save_plan(plan: list[ViewSpec], path: Path) -> None:
    """One JSON line a view."""
    with path.open("w", encoding="utf-8") as file:
        for spec in plan:
            file.write(json.dumps(asdict(spec)) + "\n")


def load_plan(path: Path) -> list[ViewSpec]:
    """What :func:`save_plan` wrote."""
    with path.open(encoding="utf-8") as file:
        return [ViewSpec.from_dict(json.loads(line)) for line in file]
