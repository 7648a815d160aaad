"""Drawings of a family that was never trained on: their names are found, and they are found by name."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.icons import TRAIN_FAMILIES
from chiasm.data.builders.views import plain_view
from chiasm.data.splits import held_out
from chiasm.evaluation.material import Drawings, Material, distinct
from chiasm.evaluation.metrics import chance_at, one_hot, ranks, recall_at
from chiasm.evaluation.report import Row, Target, measured

GROUP = "drawings"
_PIXELS = 32


def drawings(material: Material) -> list[Row]:
    """Picture → name and name → picture, concepts seen in training and unseen ones, in both languages."""
    rows: list[Row] = []
    nearest = nearest_picture_ranks(material)
    targets = {1: Target(least=0.48), 5: Target(least=0.70)}
    for language in ("en", "zh"):
        found = list(_picture_to_name(material, language, targets, nearest))
        # The Chinese targets are relative: within three points of English.
        targets = {k: Target(least=row.figure - 0.03) for k, row in zip((1, 5), found, strict=False)}
        rows += found
    for language in ("en", "zh"):
        rows += _name_to_picture(material, language)
    return rows


def _picture_to_name(
    material: Material, language: str, targets: dict[int, Target], nearest: NDArray[np.int64]
) -> Iterator[Row]:
    shown = material.drawings
    seen = ~shown.unseen
    names, column = distinct(material.names(language))
    right = one_hot(column[shown.concept[seen]], len(names))
    place = ranks(shown.vectors[seen] @ material.texts(names).T, right)
    for k in (1, 5, 10):
        yield measured(
            GROUP,
            f"picture → name, seen concepts, R@{k}, {language}",
            recall_at(place, k),
            gallery=len(names),
            chance=chance_at(right, k),
            baselines={"nearest training picture in pixels": float(recall_at(nearest, k).mean())},
            target=targets.get(k),
        )


def _name_to_picture(material: Material, language: str) -> Iterator[Row]:
    shown = material.drawings
    names = material.names(language)
    for what, rows, best in (("seen", ~shown.unseen, (1, 5, 10)), ("unseen", shown.unseen, (1, 5))):
        queries = list(dict.fromkeys(names[c] for c in shown.concept[rows]))
        if not queries:
            continue
        owner = np.array([names[c] for c in shown.concept])
        right = np.array([owner == query for query in queries])
        place = ranks(material.texts(queries) @ shown.vectors.T, right)
        for k in best:
            aim = Target(least=0.42) if what == "unseen" and k == 5 and language == "en" else None
            yield measured(
                GROUP,
                f"name → picture, {what} concepts, R@{k}, {language}",
                recall_at(place, k),
                gallery=len(owner),
                chance=chance_at(right, k),
                target=aim,
            )


def nearest_picture_ranks(material: Material) -> NDArray[np.int64]:
    """The trivial baseline: concepts by their training picture's distance in pixels (32 x 32, on white).

    Returns:
        The rank of the right concept for each seen drawing of the split.
    """
    gallery = material.gallery
    family = next(f for f in TRAIN_FAMILIES if f in gallery.labels)
    known = [
        (row, concept)
        for row in range(len(gallery.labels[family]))
        for concept in [gallery.concept(family, row)]
        if not held_out(material.concepts[concept].name)
    ]
    shown = material.drawings
    asked = _seen_rows(shown)
    bank = _small(material, family, [row for row, _ in known])
    queries = _small(material, material.family, [int(shown.rows[i]) for i in asked])
    # −|a − b|² up to a constant of the query.
    nearness = 2 * queries @ bank.T - (bank**2).sum(axis=1)
    owners = np.array([concept for _, concept in known])
    right = owners == shown.concept[asked][:, None]
    place = np.full(len(asked), len(owners) + 1, dtype=np.int64)  # a concept that the family does not draw
    drawn = right.any(axis=1)
    place[drawn] = ranks(nearness[drawn], right[drawn])
    return place


def _seen_rows(shown: Drawings) -> NDArray[np.int64]:
    return np.flatnonzero(~shown.unseen)


def _small(material: Material, family: str, rows: list[int]) -> NDArray[np.float32]:
    views = [plain_view(material.gallery.sprite(family, row), _PIXELS) for row in rows]
    return np.stack(views).reshape(len(rows), -1).astype(np.float32) / np.float32(255)
