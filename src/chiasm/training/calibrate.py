"""From cosines to probabilities of relevance: one curve for each pair of modalities, from validation data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chiasm.evaluation.relevance import NEAR
from chiasm.library.relevance import Calibration, Pair, fit

FALSE_RETURNS = 0.03
"""Share of queries without a match that one modality of a library may answer all the same."""
RIDGE = 1e-7
SIZES = (250, 1000)
"""Library sizes that the curves are fitted at."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Unit vectors [n, d] and what each is of; equal labels are relevant to each other."""

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]


def calibrate(
    queries: Mapping[str, Labelled],
    items: Mapping[str, Labelled],
    background: Mapping[str, NDArray[np.float32]],
    names: NDArray[np.float32] | None = None,
) -> Calibration:
    """Fit every "query>item" pair of modalities that the data has.

    Args:
        queries, items: by modality; validation data, never test data. A key "text>text" holds what is for
            that pair alone.
        background: by item modality, unit rows of other things.
        names: unit vectors [labels, d] of what the labels stand for, zero for what is near to nothing;
            without them only equal labels are near.
    """
    banks = Calibration(background=background)
    rng = np.random.default_rng(0)
    pairs: dict[str, Pair] = {}
    for query_name in (name for name in queries if ">" not in name):
        for item_name in (name for name in items if ">" not in name):
            key = f"{query_name}>{item_name}"
            each = queries.get(key, queries[query_name]), items.get(key, items[item_name])
            pair = _fit_pair(banks, *each, item_name, rng)
            cutoff = _cutoff(pair, banks, *each, item_name=item_name, names=names)
            pairs[key] = replace(pair, cutoff=cutoff)
    pairs["default"] = _typical(list(pairs.values()))
    return Calibration(pairs=pairs, background=background)


def _fit_pair(
    banks: Calibration, query: Labelled, item: Labelled, item_name: str, rng: np.random.Generator
) -> Pair:
    rows: list[tuple[NDArray[np.float64], ...]] = []
    for size in SIZES:
        chosen = rng.permutation(len(item.vectors))[:size]
        cosines = (query.vectors @ item.vectors[chosen].T).astype(np.float64)
        z = banks.z_scores(cosines, query.vectors, item_name)
        match = (query.labels[:, None] == item.labels[chosen][None]).astype(np.float64)
        # The same thing itself is in no library twice: an equal vector says nothing about relevance.
        fresh = cosines < 0.9999
        count = np.full(cosines.shape, float(len(chosen)))
        rows.append(tuple(a[fresh] for a in (cosines, z, count, match)))
    cosines, z, count, match = (np.concatenate(column) for column in zip(*rows, strict=True))
    # One pair in a thousand is a match: a penalty by example that suits balanced data would drown them.
    return fit(cosines, z, count, match, ridge=RIDGE)


def _cutoff(
    pair: Pair,
    banks: Calibration,
    query: Labelled,
    item: Labelled,
    *,
    item_name: str,
    names: NDArray[np.float32] | None,
) -> float:
    """The probability that only FALSE_RETURNS of the queries reach when nothing in the library matches, or
    is near to what would."""
    fitted = Calibration(pairs={"default": pair}, background=banks.background)
    cosines = (query.vectors @ item.vectors.T).astype(np.float64)
    size = min(len(item.vectors), SIZES[-1])
    chances = fitted.probability(cosines, query.vectors, "", item_name, size)
    strangers = query.labels[:, None] != item.labels[None]
    if names is not None:
        strangers &= names[query.labels] @ names[item.labels].T < NEAR
    highest = np.where(strangers, chances, 0.0).max(axis=1)
    return float(np.quantile(highest, 1 - FALSE_RETURNS))


def _typical(pairs: Sequence[Pair]) -> Pair:
    """For a pair that was not seen: the median of each coefficient, and the strictest cut-off."""
    return Pair(
        cosine=float(np.median([p.cosine for p in pairs])),
        z=float(np.median([p.z for p in pairs])),
        count=float(np.median([p.count for p in pairs])),
        bias=float(np.median([p.bias for p in pairs])),
        cutoff=max(p.cutoff for p in pairs),
    )
