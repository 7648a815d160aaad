"""What an answer was made of: weights of the places of what went in. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from chiasm.modality import Modality
from chiasm.preprocess.places import Place


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One of the two that were brought together.

    Attributes:
        modality: of it.
        places: what its positions are; a clip's have a box and a span.
        weights: float32 ``[places]``, not negative, summing to 1; all 0 where nothing spoke for the score.
    """

    modality: Modality
    places: Sequence[Place]
    weights: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Where a model looked.

    Attributes:
        method: by which it was found.
        score: that was explained: a cosine, a logit.
        input, target: what was asked about, and what it was held against.
        links: for each word, or group of positions of the target, what of the input belongs to it: float32
            ``[words, places of the input]``, rows as of ``Side.weights``.
        layers, heads: how many attention layers there are on the input's way, and heads in the first of them.
    """

    method: str
    score: float
    input: Side
    target: Side
    links: NDArray[np.float32]
    layers: int
    heads: int

    def to_message(self) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """As data and arrays, to cross between processes."""
        about = {
            "method": self.method,
            "score": self.score,
            "layers": self.layers,
            "heads": self.heads,
            "sides": [
                {"modality": side.modality.value, "places": [list(place) for place in side.places]}
                for side in (self.input, self.target)
            ],
        }
        return about, [self.input.weights, self.target.weights, self.links]

    @classmethod
    def from_message(cls, about: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Self:
        """Undo :meth:`to_message`."""
        sides = [
            Side(
                modality=Modality(side["modality"]),
                places=[_place(*place) for place in side["places"]],
                weights=weights,
            )
            for side, weights in zip(about["sides"], arrays, strict=False)
        ]
        return cls(
            method=about["method"],
            score=about["score"],
            input=sides[0],
            target=sides[1],
            links=arrays[2],
            layers=about["layers"],
            heads=about["heads"],
        )


def shares(weights: NDArray[Any]) -> NDArray[np.float32]:
    """Weights over the last axis as shares of 1; all 0 where they were."""
    found = np.nan_to_num(np.asarray(weights, np.float64)).clip(min=0.0)
    total = found.sum(axis=-1, keepdims=True)
    return np.asarray(found / np.where(total > 0.0, total, 1.0), np.float32)


def _place(kind: Any, number: int, box: Any, span: Any) -> Place:
    return Place(kind, number, None if box is None else tuple(box), None if span is None else tuple(span))
