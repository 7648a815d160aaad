"""What is contrasted with what (Tian et al. 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class CmcConfig:
    """Any number of views of the same things: channels, crops, modalities.

    Attributes:
        views: their names, at least two.
        pairing: ``full`` contrasts every pair of views (eq. 9 of the paper), ``core`` the first view with
            each of the others (eq. 8).
        objective: ``nce`` tells the right one from noise (eq. 12 ff. of its appendix), ``softmax`` finds the
            right one among all (eq. 3).
        negatives: from a ``memory`` of former vectors of all things, or the others of the ``batch``.
        dim: of the vectors.
        count: negatives for each thing; with ``batch`` all others.
        items: things there are, and so rows of the memory.
        temperature: by which cosines are divided. momentum: weight of what the memory held before.
    """

    views: tuple[str, ...] = ("l", "ab")
    pairing: Literal["full", "core"] = "full"
    objective: Literal["nce", "softmax"] = "nce"
    negatives: Literal["memory", "batch"] = "memory"
    dim: int = 128
    count: int = 4096
    items: int = 0
    temperature: float = 0.07
    momentum: float = 0.5

    def __post_init__(self) -> None:
        if len(set(self.views)) < 2 or len(set(self.views)) < len(self.views):
            raise ValueError(f"expected at least two views, each once, got {list(self.views)}")
        if self.negatives == "memory" and not 1 <= self.count < self.items:
            raise ValueError(
                f"expected fewer negatives than the {self.items} things there are, got {self.count}"
            )
        if self.temperature <= 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                "expected a temperature above 0 and a momentum from 0 to below 1, "
                f"got {self.temperature} and {self.momentum}"
            )

    def pairs(self) -> Sequence[tuple[str, str]]:
        """The views that are contrasted with each other, each pair once."""
        if self.pairing == "full":
            return list(combinations(self.views, 2))
        return [(self.views[0], other) for other in self.views[1:]]
