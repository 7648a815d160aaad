"""What is looked for, where, and in which order it is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput

MODALITIES = ("text", "image", "audio", "video", "mixed")
MAX_LIMIT = 100
MAX_QUERIES = 64
MAX_DEPTH = 1000  # hits before the last page
DIVERSE_POOL = 200  # hits among which diversity chooses: pages of one search must agree on it


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """A search.

    Args:
        vectors: unit rows [q, d]: what is looked for, then what is not wanted.
        modality: of the rows, one for all or one each: text, image, audio, video or mixed.
        negative: how many of the last rows are not wanted.
        weights: one for each row that is looked for; the score is then their weighted mean. ``None``: a file
            counts by the row that it suits best.
        limit: number of files, 1 to 100.
        offset: how many of the best are left out, as on earlier pages.
        diversity: 0 to 1, how much a hit loses by being like those before it.
        modalities: of the hits; ``None`` for all.
        filters: see :mod:`chiasm.stores.filters`.
        threshold: least score; ``None`` for the model's own cut-off of each pair, 0 for all.
        exclude: a file that is not a hit.
        group_duplicates: whether files that show or say nearly the same are one hit.
    """

    vectors: NDArray[np.float32]
    modality: str | Sequence[str]
    negative: int = 0
    weights: Sequence[float] | None = None
    limit: int = 10
    offset: int = 0
    diversity: float = 0.0
    modalities: Sequence[str] | None = None
    filters: object | None = None
    threshold: float | None = None
    exclude: str | None = None
    group_duplicates: bool = True

    @property
    def row_modalities(self) -> tuple[str, ...]:
        """The modality of each row."""
        if isinstance(self.modality, str):
            return (self.modality,) * len(self.vectors)
        return tuple(self.modality)

    @property
    def positive(self) -> int:
        """How many rows are looked for."""
        return len(self.vectors) - self.negative

    @property
    def depth(self) -> int:
        """How many files are needed, best first."""
        return DIVERSE_POOL if self.diversity else min(self.offset + self.limit, MAX_DEPTH)

    def checked(self, dimensions: int) -> "Query":
        """This query, if it makes sense.

        Raises:
            InvalidInput: it does not.
        """
        self._check_vectors(dimensions)
        for name, values in (("query_modality", self.row_modalities), ("modalities", self.modalities or ())):
            for value in values:
                if value not in MODALITIES:
                    raise _wrong(
                        f"one of {', '.join(MODALITIES)}", f"{'、'.join(MODALITIES)} 之一", value, name
                    )
        if not 1 <= self.limit <= MAX_LIMIT:
            raise _wrong(f"a limit of 1 to {MAX_LIMIT}", f"1 至 {MAX_LIMIT} 的 limit", self.limit, "limit")
        deepest = DIVERSE_POOL if self.diversity else MAX_DEPTH
        if not 0 <= self.offset < deepest:
            raise _wrong(
                f"a page within the first {deepest} hits", f"前 {deepest} 个结果之内的页", self.offset, "page"
            )
        for name, share in (("threshold", self.threshold), ("diversity", self.diversity)):
            if share is not None and not 0 <= share <= 1:
                raise _wrong(f"a {name} in [0, 1]", f"[0, 1] 内的 {name}", share, name)
        self._check_weights()
        return self

    def _check_vectors(self, dimensions: int) -> None:
        shape = self.vectors.shape
        if self.vectors.ndim != 2 or not 1 <= shape[0] <= MAX_QUERIES or shape[1] != dimensions:
            raise _wrong(
                f"1 to {MAX_QUERIES} query vectors of {dimensions} dimensions",
                f" 1 至 {MAX_QUERIES} 个 {dimensions} 维查询向量",
                list(shape),
                "query",
            )
        if not np.isfinite(self.vectors).all() or not (np.linalg.norm(self.vectors, axis=1) > 0).all():
            raise _wrong("finite query vectors other than 0", "非零的有限查询向量", "others", "query")
        if not 0 <= self.negative < shape[0]:
            raise _wrong("something that is looked for", "至少一个要找的内容", "none", "query")
        if len(self.row_modalities) != shape[0]:
            raise _wrong(
                "a modality for each query vector",
                "每个查询向量对应一个模态",
                len(self.row_modalities),
                "query_modality",
            )

    def _check_weights(self) -> None:
        if self.weights is None:
            return
        values = np.asarray(self.weights, np.float64)
        if values.shape != (self.positive,):
            raise _wrong(
                f"{self.positive} weights, one for each query",
                f" {self.positive} 个权重，每个查询一个",
                len(self.weights),
                "weights",
            )
        if not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
            raise _wrong(
                "weights of at least 0 and not all 0", "不小于 0 且不全为 0 的权重", list(values), "weights"
            )


def _wrong(en: str, zh: str, got: object, param: str) -> InvalidInput:
    return InvalidInput(f"expected {en}, got {got!r}", f"应为{zh}，实际为 {got!r}", param=param)
