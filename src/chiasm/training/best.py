"""The weights that did best on held-out data, in ``best.pt`` of a stage's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

BEST = "best.pt"


class Best(NamedTuple):
    """Weights by name, after how many steps they were so, and their score."""

    weights: dict[str, Tensor]
    step: int
    score: float


def keep_best(folder: Path, weights: Mapping[str, Tensor], step: int, score: float) -> None:
    """Write weights down, unless others had a greater score; of equal ones the later are kept."""
    former = best_of(folder)
    if former is not None and former.score > score:
        return
    temporary = folder / "best.tmp"
    torch.save({"weights": dict(weights), "step": step, "score": score}, temporary)
    temporary.replace(folder / BEST)


def best_of(folder: Path) -> Best | None:
    """What was kept; nothing before the first evaluation. The weights are read when they are used."""
    path = folder / BEST
    if not path.exists():
        return None
    kept = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    return Best(kept["weights"], kept["step"], kept["score"])
