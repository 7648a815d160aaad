"""Zero-shot classification of labelled photographs: each sub-folder is named after what is in it."""

import csv
from pathlib import Path

import numpy as np

from chiasm.data.builders.glossary import load_glossary, load_imagenet
from chiasm.errors import DataError
from chiasm.evaluation.material import Material
from chiasm.evaluation.metrics import chance_at, one_hot, ranks, recall_at
from chiasm.evaluation.report import Row, Target, measured
from chiasm.inference import TEMPLATES_EN, TEMPLATES_ZH

GROUP = "photographs"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def photographs(material: Material) -> list[Row]:
    """Top-1 and top-5 in both languages; nothing without a folder.

    Raises:
        DataError: a folder without two labels.
    """
    if material.photographs is None:
        return []
    labelled = labelled_files(material.photographs)
    labels = sorted({label for _, label in labelled})
    chosen = [labelled[i] for i in material.sample(len(labelled), len(labelled), "photographs")]
    vectors = material.model.embed([path for path, _ in chosen])
    right = one_hot(np.array([labels.index(label) for _, label in chosen]), len(labels))
    rows: list[Row] = []
    aims = {1: Target(least=0.60), 5: Target(least=0.85)}
    for language, names, templates in (
        ("en", labels, TEMPLATES_EN),
        ("zh", chinese_labels(material.photographs, labels), TEMPLATES_ZH),
    ):
        place = ranks(vectors @ material.labels(names, templates).T, right)
        for k in (1, 5):
            rows.append(
                measured(
                    GROUP,
                    f"zero-shot top-{k}, {language}",
                    recall_at(place, k),
                    gallery=len(labels),
                    chance=chance_at(right, k),
                    target=aims[k],
                )
            )
        aims = {k: Target(least=row.figure - 0.05) for k, row in zip((1, 5), rows, strict=False)}
    return rows


def labelled_files(folder: Path) -> list[tuple[Path, str]]:
    """Pictures with their labels, in a fixed order; underscores in a sub-folder's name stand for blanks.

    Raises:
        DataError: fewer than two labels.
    """
    found = [
        (path, path.parent.name.replace("_", " ").lower())
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if len({label for _, label in found}) < 2:
        raise DataError(
            f"expected pictures in at least two sub-folders of {folder}, named after what they show",
            f"{folder} 中应至少有两个以内容命名的子文件夹，其中放有图片",
            param="photographs",
        )
    return found


def chinese_labels(folder: Path, labels: list[str]) -> list[str]:
    """Chinese by ``labels.tsv`` (English, tab, Chinese) in the folder, else by the glossary.

    Raises:
        DataError: a label that neither knows.
    """
    table = {name.lower(): e.zh[0] for e in reversed([*load_glossary(), *load_imagenet()]) for name in e.en}
    path = folder / "labels.tsv"
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            table |= {row[0].lower(): row[1] for row in csv.reader(file, delimiter="\t") if len(row) > 1}
    unknown = [label for label in labels if label not in table]
    if unknown:
        raise DataError(
            f"expected Chinese names of {', '.join(unknown)} in {path}",
            f"{path} 中应给出以下标签的中文名：{'、'.join(unknown)}",
            param="labels.tsv",
        )
    return [table[label] for label in labels]
