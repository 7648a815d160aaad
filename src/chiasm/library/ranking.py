"""How several cosines become one score, and how hits are spread out. Numbers in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiasm.library.query import Query
from chiasm.library.relevance import Calibration, logit, sigmoid

TINY = 1e-12
LENIENCE = 0.5  # a red apple is a little like “green”, too: half as like as “apple” costs nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """Items of one kind, as a query sees them: ``scores``, ``cosines`` and whether each ``passes``, all [n].

    ``cosines`` are to the row that an item suits best or, with weights, their weighted mean.
    """

    scores: NDArray[np.float64]
    cosines: NDArray[np.float64]
    passes: NDArray[np.bool_]


def score(
    query: Query,
    vectors: NDArray[np.float32],
    cosines: NDArray[np.float32],
    calibration: Calibration,
    *,
    kind: str,
    items: int,
) -> Scored:
    """Items, if they should be of this kind, against all rows of a query.

    Args:
        vectors: the query's rows as unit vectors [q, d].
        cosines: [q, n].
        items: how many are searched; the cut-off rises with them.
    """
    modalities = query.row_modalities
    probabilities = np.stack(
        [
            calibration.probability(cosines[i, None], vectors[i, None], modality, kind)[0]
            for i, modality in enumerate(modalities[: query.positive])
        ]
    )
    if query.negative:
        evidence = np.stack(
            [
                calibration.evidence(cosines[i, None], vectors[i, None], modality, kind)[0]
                for i, modality in enumerate(modalities)
            ]
        )
        wanted_by, against = evidence[: query.positive], evidence[query.positive :].max(axis=0)
        excess = np.maximum(0.0, against - LENIENCE * wanted_by)
        probabilities = sigmoid(logit(np.clip(probabilities, TINY, 1 - TINY)) - excess)
    cutoffs = np.array(
        [
            calibration.cutoff(modality, kind, items) if query.threshold is None else query.threshold
            for modality in modalities[: query.positive]
        ]
    )
    wanted = cosines[: query.positive].astype(np.float64)
    if query.weights is not None:
        shares = np.asarray(query.weights, np.float64) / np.sum(query.weights)
        scores = shares @ probabilities
        return Scored(scores=scores, cosines=shares @ wanted, passes=scores >= shares @ cutoffs)
    passing: NDArray[np.bool_] = probabilities >= cutoffs[:, None]
    best = np.where(passing, probabilities, -1.0).argmax(axis=0)
    columns = np.arange(cosines.shape[1])
    return Scored(
        scores=probabilities[best, columns],
        cosines=wanted[best, columns],
        passes=passing[best, columns],  # if any row passes, so does the best one that does
    )


def spread(scores: Sequence[float], vectors: NDArray[np.float32], diversity: float) -> list[int]:
    """The order of maximal marginal relevance (Carbonell & Goldstein 1998): at each place the item
    whose score, less its likeness to one that is placed already, is greatest.

    Args:
        scores: [n], best first.
        vectors: unit rows [n, d].
        diversity: the share of likeness, 0 (the order of the scores) to 1.
    """
    left = np.asarray(scores, np.float64)
    likeness = np.zeros(len(left))
    taken = np.zeros(len(left), bool)
    order = []
    for _ in range(len(left)):
        worth = np.where(taken, -np.inf, (1 - diversity) * left - diversity * likeness)
        chosen = int(worth.argmax())
        order.append(chosen)
        taken[chosen] = True
        likeness = np.maximum(likeness, vectors @ vectors[chosen])
    return order
