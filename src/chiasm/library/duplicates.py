"""Hits that are nearly the same picture or text: by two measures that must agree, vectors and bits."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chiasm.media.fingerprint import bits_apart, colours_apart
from chiasm.stores import SegmentRecord

# Measured by benchmarks/duplicates.py; see docs/decisions/0022-near-duplicates.md.
LEAST_COSINE = {"image": 0.8, "text": 0.95}
MOST_BITS = {"image": 12, "text": 3}
MOST_COLOUR = 12.0
FURTHER = 50  # files after the last that is wanted, looked through for duplicates of those before


def same(first: SegmentRecord, second: SegmentRecord, cosine: float) -> bool:
    """Whether two segments, of different files, show or say nearly the same.

    Args:
        cosine: of their vectors.
    """
    if first.modality != second.modality or not first.fingerprint or not second.fingerprint:
        return False
    if cosine < LEAST_COSINE.get(first.modality, 2.0):
        return False
    left, right = bytes.fromhex(first.fingerprint), bytes.fromhex(second.fingerprint)
    if len(left) != len(right) or bits_apart(left, right) > MOST_BITS[first.modality]:
        return False
    return first.modality != "image" or colours_apart(left, right) <= MOST_COLOUR


def grouped(
    segments: Sequence[SegmentRecord], vectors: Mapping[int, NDArray[np.float32]], *, most: int
) -> list[list[int]]:
    """Positions in ``segments`` by group, in the order of their first ones; at most ``most`` groups.

    Args:
        segments: the best places of different files, best first.
        vectors: unit rows [d] by segment id; what has none stands alone.
        most: how many groups are wanted. That others follow changes none of those before them: pages agree.
    """
    groups: list[list[int]] = []
    rows: list[NDArray[np.float32]] = []
    owners: list[int] = []  # the group that each of the rows began
    after = 0
    for position, segment in enumerate(segments):
        vector = vectors.get(segment.id)
        found = None
        if vector is not None and rows and segment.fingerprint:
            cosines = np.stack(rows) @ vector
            near = (i for i in np.flatnonzero(cosines >= min(LEAST_COSINE.values())))
            leaders = ((owners[i], float(cosines[i])) for i in near)
            found = next((g for g, c in leaders if same(segments[groups[g][0]], segment, c)), None)
        if found is not None:
            groups[found].append(position)
        elif len(groups) < most:
            groups.append([position])
            if vector is not None and segment.fingerprint:
                rows.append(vector)
                owners.append(len(groups) - 1)
        if len(groups) >= most:
            after += 1
            if after > FURTHER:
                break
    return groups
