"""How often the right text is among the first found for a picture, and the right picture for a text."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chiasm.evaluation.metrics import ranks, recall_at

FIRST = (1, 5)
_BLOCK = 512  # queries that are compared with everything at once


def recalls(
    images_nd: NDArray[np.float32], texts_md: NDArray[np.float32], pairs: Sequence[tuple[int, int]]
) -> dict[str, float]:
    """R@1 and R@5 both ways, in [0, 1].

    Args:
        images_nd, texts_md: unit rows of different pictures and of different texts.
        pairs: rows of both that belong together; one picture may have several texts, and one text several.
    """
    right = np.asarray(pairs, dtype=np.int64)
    return {
        **_one_way("image_to_text", images_nd, texts_md, right),
        **_one_way("text_to_image", texts_md, images_nd, right[:, ::-1]),
    }


def score_of(figures: Mapping[str, float]) -> float:
    """What the best epoch has most of: the mean of the recalls."""
    return sum(figures.values()) / max(1, len(figures))


def _one_way(
    name: str, queries: NDArray[np.float32], gallery: NDArray[np.float32], right: NDArray[np.int64]
) -> dict[str, float]:
    places = []
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        marks = np.zeros((len(block), len(gallery)), dtype=bool)
        here = right[(right[:, 0] >= start) & (right[:, 0] < start + len(block))]
        marks[here[:, 0] - start, here[:, 1]] = True
        places.append(ranks(block @ gallery.T, marks))
    found = np.concatenate(places)
    return {f"{name}_r{k}": round(float(recall_at(found, k).mean()), 6) for k in FIRST}
