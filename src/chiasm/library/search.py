"""One query, all modalities: a lookup in each modality's index, merged by calibrated probability."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput
from chiasm.library.relevance import KINDS, Calibration, kind_of
from chiasm.library.results import Hit, Span
from chiasm.stores import Segments, StoreRecord, VectorIndex, other_revision

MODALITIES = ("text", "image", "audio", "video", "mixed")
MAX_LIMIT = 50
MAX_QUERIES = 64
MAX_CANDIDATES = 8192  # of one modality: how far the search for `limit` different files may go
FURTHER_SPANS = 5


class IndexSource(Protocol):
    """Where the indexes are."""

    def get(self, store: StoreRecord, modality: str) -> VectorIndex | None:
        """The index of a store's modality; ``None`` when it has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What is looked for, and where.

    Args:
        vectors: unit rows [q, d]; a file counts by the query that it suits best.
        modality: of the queries: text, image, audio, video or mixed.
        limit: number of files, 1 to 50.
        modalities: of the hits; ``None`` for all.
        filters: see :mod:`chiasm.stores.filters`.
        threshold: least score; ``None`` for the model's own cut-off of each pair, 0 for all.
        exclude: a file that is not a hit.
    """

    vectors: NDArray[np.float32]
    modality: str
    limit: int = 10
    modalities: Sequence[str] | None = None
    filters: object | None = None
    threshold: float | None = None
    exclude: str | None = None

    def checked(self, dimensions: int) -> "Query":
        """This query, if it makes sense.

        Raises:
            InvalidInput: it does not.
        """
        shape = self.vectors.shape
        if self.vectors.ndim != 2 or not 1 <= shape[0] <= MAX_QUERIES or shape[1] != dimensions:
            raise _wrong(
                f"1 to {MAX_QUERIES} query vectors of {dimensions} dimensions",
                "查询向量",
                list(shape),
                "query",
            )
        if not np.isfinite(self.vectors).all() or not (np.linalg.norm(self.vectors, axis=1) > 0).all():
            raise _wrong("finite query vectors other than 0", "非零的有限查询向量", "others", "query")
        if not 1 <= self.limit <= MAX_LIMIT:
            raise _wrong(f"a limit of 1 to {MAX_LIMIT}", f"1 至 {MAX_LIMIT} 的 limit", self.limit, "limit")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise _wrong("a threshold in [0, 1]", "[0, 1] 内的阈值", self.threshold, "threshold")
        for name, value in (
            ("query_modality", self.modality),
            *(("modalities", m) for m in self.modalities or ()),
        ):
            if value not in MODALITIES:
                raise _wrong(f"one of {', '.join(MODALITIES)}", f"{'、'.join(MODALITIES)} 之一", value, name)
        return self


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A segment, if it should be of this kind."""

    segment_id: int
    kind: str
    score: float
    cosine: float


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    modality: str
    index: VectorIndex
    allowed: NDArray[np.uint64] | None


class Searcher:
    """Answers queries over the indexes of a library."""

    def __init__(self, segments: Segments, indexes: IndexSource, calibration: Calibration) -> None:
        self._segments = segments
        self._indexes = indexes
        self._calibration = calibration

    def search(self, store: StoreRecord, query: Query, *, revision: str | None) -> list[Hit]:
        """The best files, by score.

        Args:
            revision: of the model that made the query's vectors; ``None`` if the caller vouches for them.

        Raises:
            InvalidInput: a query that makes no sense.
            Conflict: the store's vectors are of another model revision.
        """
        if store.dimensions is None or store.revision is None:
            query.checked(query.vectors.shape[-1])
            return []
        if revision not in (None, store.revision):
            raise other_revision(store.revision, store.dimensions, revision or "", query.vectors.shape[-1])
        query.checked(store.dimensions)
        norms = np.linalg.norm(query.vectors, axis=1, keepdims=True)
        vectors = np.asarray(query.vectors / norms, np.float32)
        places = [
            _Place(
                m, index, None if query.filters is None else self._segments.ids(store.id, m, query.filters)
            )
            for m in MODALITIES
            if query.modalities is None or m in query.modalities
            for index in [self._indexes.get(store, m)]
            if index is not None
        ]
        count = 2 * query.limit + 8
        while True:
            found = [self._lookup(query, vectors, place, count) for place in places]
            hits = self._hits(store, query, [c for candidates, _ in found for c in candidates])
            if len(hits) >= query.limit or not any(more for _, more in found) or count >= MAX_CANDIDATES:
                return hits[: query.limit]
            count *= 4  # long files filled the places: look further for other files

    def _lookup(
        self, query: Query, vectors: NDArray[np.float32], place: "_Place", count: int
    ) -> tuple[list[_Candidate], bool]:
        """The best segments of one modality, and whether there may be more."""
        items = len(place.index) if place.allowed is None else len(place.allowed)
        if not items:
            return [], False
        best: dict[tuple[int, str], _Candidate] = {}
        more = False
        for vector in vectors:
            match = place.index.search(vector, count, place.allowed)
            for kind in KINDS.get(place.modality, (place.modality,)):
                cutoff = self._cutoff(query, kind, items)
                scores = self._calibration.probability(
                    match.cosines[None], vector[None], query.modality, kind
                )[0]
                more |= count <= len(match.keys) < items and bool(scores[-1] >= cutoff)
                for key, score, cosine in zip(match.keys, scores, match.cosines, strict=True):
                    known = best.get((int(key), kind))
                    if score >= cutoff and (known is None or known.score < score):
                        best[int(key), kind] = _Candidate(int(key), kind, float(score), float(cosine))
        return list(best.values()), more

    def _cutoff(self, query: Query, kind: str, items: int) -> float:
        if query.threshold is not None:
            return query.threshold
        return self._calibration.cutoff(query.modality, kind, items)

    def _hits(self, store: StoreRecord, query: Query, candidates: list[_Candidate]) -> list[Hit]:
        candidates.sort(key=lambda c: (-c.score, -c.cosine, c.segment_id))
        records = self._segments.records([c.segment_id for c in candidates])
        by_file: dict[str, list[_Candidate]] = {}
        for candidate in candidates:
            segment = records.get(candidate.segment_id)
            if segment is None or segment.file_id == query.exclude:
                continue
            if candidate.kind == kind_of(segment.modality, segment.snippet):
                by_file.setdefault(segment.file_id, []).append(candidate)
        best = list(by_file)[: query.limit]
        entries = self._segments.owners(store.id, best)
        hits = []
        for file_id in best:
            if file_id not in entries:
                continue  # it was removed just now
            first, *others = by_file[file_id]
            segment, entry = records[first.segment_id], entries[file_id]
            spans = tuple(
                Span(start=s.start, end=s.end, snippet=s.snippet, score=c.score, cosine=c.cosine)
                for c in others[:FURTHER_SPANS]
                for s in [records[c.segment_id]]
            )
            hits.append(
                Hit(
                    file_id=entry.file.id,
                    name=entry.file.name,
                    path=entry.file.path,
                    mime=entry.file.mime,
                    attributes=entry.attributes,
                    item_id=entry.item_id,
                    modality=segment.modality,
                    start=segment.start,
                    end=segment.end,
                    snippet=segment.snippet,
                    score=first.score,
                    cosine=first.cosine,
                    segment_id=segment.id,
                    others=spans,
                )
            )
        return hits


def _wrong(en: str, zh: str, got: object, param: str) -> InvalidInput:
    return InvalidInput(f"expected {en}, got {got!r}", f"应为{zh}，实际为 {got!r}", param=param)
