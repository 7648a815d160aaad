"""From cosines to probabilities of relevance: one curve for each pair of modalities, from validation data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from chiasm.evaluation.relevance import NEAR
from chiasm.library.relevance import Calibration, Pair, fit, log_items, logit, sigmoid

FALSE_RETURNS = 0.04
"""Share of queries without a match that one modality of a library may answer all the same."""
RIDGE = 1e-7
SHARES = (1 / 16, 1 / 4, 1)
"""Parts of the items that make the libraries which cut-offs are fitted at."""
DRAWS = 8
"""Libraries of each size."""
SAME = 0.9999
"""Cosine from which on two vectors are of one and the same item."""
EXTREME = 1e-9
"""Probabilities nearer to 0 or 1 than this have no logit worth fitting."""


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
    """Fit every "query>item" pair that the data has.

    Args:
        queries, items: by modality and by kind of item; validation data, never test data. A key
            "text>passage" holds what is for that pair alone. A pair that has no label in common is left out.
        background: by kind of item, unit rows of other things.
        names: unit vectors [labels, d] of what the labels stand for, zero for what is near to nothing;
            without them only equal labels are near.
    """
    banks = Calibration(background=background)
    pairs: dict[str, Pair] = {}
    for query_name in (name for name in queries if ">" not in name):
        for kind in (name for name in items if ">" not in name):
            key = f"{query_name}>{kind}"
            query, item = queries.get(key, queries[query_name]), items.get(key, items[kind])
            if not np.isin(query.labels, item.labels).any():
                continue  # what is relevant to what is not known here
            strange = _strange(query, item, names)
            curve = _fit_curve(banks, query, item, kind, strange)
            pairs[key] = _with_cutoff(curve, banks, query, item, kind=kind, strange=strange)
    pairs["default"] = _typical(list(pairs.values()))
    return Calibration(pairs=pairs, background=background)


def _strange(query: Labelled, item: Labelled, names: NDArray[np.float32] | None) -> NDArray[np.bool_]:
    """Whether each item [q, n] is neither what was asked for nor near to it."""
    strange: NDArray[np.bool_] = query.labels[:, None] != item.labels[None]
    if names is not None:
        strange &= names[query.labels] @ names[item.labels].T < NEAR
    return strange


def _fit_curve(
    banks: Calibration, query: Labelled, item: Labelled, kind: str, strange: NDArray[np.bool_]
) -> Pair:
    cosines = (query.vectors @ item.vectors.T).astype(np.float64)
    z = banks.z_scores(cosines, query.vectors, kind)
    match = query.labels[:, None] == item.labels[None]
    # What is near to what was asked for is neither right nor wrong. The same thing itself is in no library
    # twice: an equal vector says nothing about relevance.
    told = (match | strange) & (cosines < SAME)
    # One pair in a thousand is a match: a penalty by example that suits balanced data would drown them.
    return fit(cosines[told], z[told], match[told].astype(np.float64), ridge=RIDGE)


def _with_cutoff(
    curve: Pair,
    banks: Calibration,
    query: Labelled,
    item: Labelled,
    *,
    kind: str,
    strange: NDArray[np.bool_],
) -> Pair:
    """The curve with the cut-off that only FALSE_RETURNS of the queries reach when nothing in the library
    matches, or is near to what would: a line through what it is in libraries of several sizes."""
    cosines = (query.vectors @ item.vectors.T).astype(np.float64)
    fitted = Calibration(pairs={"default": curve}, background=banks.background)
    chances = np.where(strange, fitted.probability(cosines, query.vectors, "", kind), 0.0)
    sizes = sorted({math.ceil(share * len(item.labels)) for share in SHARES})
    rng = np.random.default_rng(0)
    reached = []
    for size in sizes:
        libraries = [rng.permutation(len(item.labels))[:size] for _ in range(DRAWS)]
        highest = np.concatenate([chances[:, library].max(axis=1) for library in libraries])
        reached.append(float(np.quantile(highest, 1 - FALSE_RETURNS)))
    logits = logit(np.clip(reached, EXTREME, 1 - EXTREME))
    growth, at_thousand = np.polyfit(log_items(np.array(sizes)), logits, min(1, len(sizes) - 1))
    return replace(curve, cutoff=float(sigmoid(at_thousand)), growth=max(0.0, float(growth)))


def _typical(pairs: Sequence[Pair]) -> Pair:
    """For a pair that was not seen: the median of each number."""
    return Pair(
        **{name.name: float(np.median([getattr(p, name.name) for p in pairs])) for name in fields(Pair)}
    )
