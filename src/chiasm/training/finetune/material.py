"""Pairs as rows of different pictures and of different texts, and which of them are held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import DataError
from chiasm.preprocess import PreparedPart
from chiasm.training.finetune.pairs import Pair

Rows = NDArray[np.int64]
LEAST = 2
"""Different pictures and texts without which there is nothing to tell apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """All pairs: different files and texts, and pairs ``[n, 2]`` of rows of both; the first ``own`` pairs are
    of the data, the rest of a validation list."""

    files: list[Path]
    texts: list[str]
    pairs: Rows
    own: int


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a run learns from and is checked on: pairs ``[n, 2]`` of rows of files and of prepared texts."""

    files: Sequence[Path]
    texts: Sequence[PreparedPart]
    learn: Rows
    check: Rows


def corpus_of(own: Sequence[Pair], others: Sequence[Pair]) -> Corpus:
    """Pairs of the data, and those of a validation list, by rows."""
    files: dict[Path, int] = {}
    texts: dict[str, int] = {}
    rows = [
        (files.setdefault(pair.file, len(files)), texts.setdefault(pair.text, len(texts)))
        for pair in (*own, *others)
    ]
    return Corpus(list(files), list(texts), np.asarray(rows, dtype=np.int64), len(own))


def split(corpus: Corpus, bad: Sequence[int], share: float, seed: int) -> tuple[Rows, Rows]:
    """Pairs to learn from, and pairs to check on.

    A picture is held out with all its texts. Nothing is held out where there is a validation list.

    Args:
        bad: rows of files that cannot be read. share: of the pictures to hold out.

    Raises:
        DataError: too few different pictures or texts on either side.
    """
    fine = ~np.isin(corpus.pairs[:, 0], np.asarray(bad, dtype=np.int64))
    own = np.arange(len(corpus.pairs)) < corpus.own
    learn, check = corpus.pairs[fine & own], corpus.pairs[fine & ~own]
    listed = len(corpus.pairs) > corpus.own
    if share and not listed:
        files = np.unique(learn[:, 0])
        count = max(LEAST, round(share * len(files)))
        held = np.random.default_rng((seed, 1)).permutation(files)[:count]
        apart = np.isin(learn[:, 0], held)
        learn, check = learn[~apart], learn[apart]
    _expect_several(learn, "to learn from", "用于训练")
    if share or listed:
        _expect_several(check, "to validate on", "用于验证")
    return learn, check


def _expect_several(pairs: Rows, what: str, what_zh: str) -> None:
    files, texts = (len(np.unique(column)) for column in pairs.T)
    if min(files, texts) < LEAST:
        raise DataError(
            f"expected at least {LEAST} different pictures and texts {what}, got {files} and {texts}",
            f"{what_zh}的图片和文本各应至少有 {LEAST} 种，实际为 {files} 和 {texts}",
            param="data",
        )
