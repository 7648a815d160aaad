"""One query, all modalities: a lookup in each modality's index, merged by calibrated probability."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chiasm.library.duplicates import grouped
from chiasm.library.query import MODALITIES, Query
from chiasm.library.ranking import score, spread
from chiasm.library.relevance import KINDS, Calibration, kind_of
from chiasm.library.results import Duplicate, Hit, Span
from chiasm.library.tables import AttributeTables
from chiasm.stores import (
    EntryRecord,
    SegmentRecord,
    Segments,
    StoreRecord,
    VectorIndex,
    other_revision,
    parse_filter,
)
from chiasm.stores.vectors import Match

MAX_CANDIDATES = 8192  # of one modality: how far the search for `limit` different files may go
FURTHER_SPANS = 5
MOST_DUPLICATES = 20


class IndexSource(Protocol):
    """Where the indexes are."""

    def get(self, store: StoreRecord, modality: str) -> VectorIndex | None:
        """The index of a store's modality; ``None`` when it has none."""


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


@dataclass(frozen=True, slots=True)
class _Found:
    candidate: _Candidate
    segment: SegmentRecord


_File = list[_Found]  # the places that were found in a file, best first


class Searcher:
    """Answers queries over the indexes of a library.

    Args:
        calibrations: of the model that made a store's vectors.
    """

    def __init__(
        self,
        segments: Segments,
        indexes: IndexSource,
        tables: AttributeTables,
        calibrations: Callable[[StoreRecord], Calibration],
    ) -> None:
        self._segments = segments
        self._indexes = indexes
        self._tables = tables
        self._calibrations = calibrations

    def search(self, store: StoreRecord, query: Query, *, revision: str | None) -> list[Hit]:
        """The best files, by score.

        Args:
            revision: of the model that made the query's vectors; ``None`` if the caller vouches for them.

        Raises:
            InvalidInput: a query that makes no sense.
            Conflict: the store's vectors are of another model revision.
        """
        condition = None if query.filters is None else parse_filter(query.filters)
        if store.dimensions is None or store.revision is None:
            query.checked(query.vectors.shape[-1])
            return []
        if revision not in (None, store.revision):
            raise other_revision(store.revision, store.dimensions, revision or "", query.vectors.shape[-1])
        query.checked(store.dimensions)
        norms = np.linalg.norm(query.vectors, axis=1, keepdims=True)
        vectors = np.asarray(query.vectors / norms, np.float32)
        places = [
            _Place(m, index, None if condition is None else self._tables.allowed(store.id, m, condition))
            for m in MODALITIES
            if query.modalities is None or m in query.modalities
            for index in [self._indexes.get(store, m)]
            if index is not None
        ]
        calibration = self._calibrations(store)
        count = 2 * query.depth + 8
        while True:
            found = [self._lookup(query, vectors, place, count, calibration) for place in places]
            files = self._files(query, [c for candidates, _ in found for c in candidates])
            groups = self._groups(store, query, files)
            if len(groups) >= query.depth or not any(more for _, more in found) or count >= MAX_CANDIDATES:
                return self._hits(store, query, groups)
            count *= 4  # long files filled the places: look further for other files

    def _lookup(
        self,
        query: Query,
        vectors: NDArray[np.float32],
        place: _Place,
        count: int,
        calibration: Calibration,
    ) -> tuple[list[_Candidate], bool]:
        """The best segments of one modality, and whether there may be more."""
        items = len(place.index) if place.allowed is None else len(place.allowed)
        if not items:
            return [], False
        matches = [place.index.search(row, count, place.allowed) for row in vectors[: query.positive]]
        keys, cosines = self._cosines(vectors, matches)
        candidates = []
        passing = np.zeros(len(keys), bool)
        for kind in KINDS.get(place.modality, (place.modality,)):
            scored = score(query, vectors, cosines, calibration, kind=kind, items=items)
            passing |= scored.passes
            candidates += [
                _Candidate(int(keys[i]), kind, float(scored.scores[i]), float(scored.cosines[i]))
                for i in np.flatnonzero(scored.passes)
            ]
        beyond = {int(match.keys[-1]) for match in matches if count <= len(match.keys) < items}
        return candidates, not beyond.isdisjoint(keys[passing].tolist())

    def _cosines(
        self, vectors: NDArray[np.float32], matches: list[Match]
    ) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """What was found for any row, and its cosines to all rows: keys [n], cosines [q, n]."""
        if len(vectors) == 1:
            return matches[0].keys, matches[0].cosines[None]
        keys = np.unique(np.concatenate([match.keys for match in matches]))
        parts = list(self._segments.vectors(keys, vectors.shape[1]))
        if not parts:
            return np.empty(0, np.uint64), np.empty((len(vectors), 0), np.float32)
        rows = np.concatenate([found for _, found in parts])
        return np.concatenate([ids for ids, _ in parts]), vectors @ rows.T

    def _files(self, query: Query, candidates: list[_Candidate]) -> list[_File]:
        """The places that were found in each file, best first; of the files, too."""
        candidates.sort(key=lambda c: (-c.score, -c.cosine, c.segment_id))
        records = self._segments.records([c.segment_id for c in candidates])
        by_file: dict[str, list[_Found]] = {}
        for candidate in candidates:
            segment = records.get(candidate.segment_id)
            if segment is None or segment.file_id == query.exclude:
                continue
            if candidate.kind == kind_of(segment.modality, segment.snippet):
                by_file.setdefault(segment.file_id, []).append(_Found(candidate, segment))
        return list(by_file.values())

    def _groups(self, store: StoreRecord, query: Query, files: list[_File]) -> list[list[_File]]:
        """The files, those that are nearly the same together; as many groups as the query needs."""
        if not query.group_duplicates:
            return [[file] for file in files[: query.depth]]
        segments = [first.segment for first, *_ in files]
        vectors = self._vectors(store, [s for s in segments if s.fingerprint])
        return [[files[i] for i in group] for group in grouped(segments, vectors, most=query.depth)]

    def _hits(self, store: StoreRecord, query: Query, groups: list[list[_File]]) -> list[Hit]:
        if query.diversity:
            groups = self._spread(store, query, groups)
        page = [group[: 1 + MOST_DUPLICATES] for group in groups[query.offset : query.offset + query.limit]]
        files = [first.segment.file_id for group in page for first, *_ in group]
        entries = self._segments.owners(store.id, files)
        # one that is not among the entries was removed just now
        present = [[file for file in group if file[0].segment.file_id in entries] for group in page]
        return [_hit(entries, group) for group in present if group]

    def _spread(self, store: StoreRecord, query: Query, groups: list[list[_File]]) -> list[list[_File]]:
        vectors = self._vectors(store, [group[0][0].segment for group in groups])
        groups = [group for group in groups if group[0][0].segment.id in vectors]
        if not groups:
            return groups
        rows = np.stack([vectors[group[0][0].segment.id] for group in groups])
        order = spread([group[0][0].candidate.score for group in groups], rows, query.diversity)
        return [groups[i] for i in order]

    def _vectors(
        self, store: StoreRecord, segments: Sequence[SegmentRecord]
    ) -> dict[int, NDArray[np.float32]]:
        ids = np.array([segment.id for segment in segments], np.uint64)
        return {
            int(i): row
            for keys, rows in self._segments.vectors(ids, store.dimensions or 0)
            for i, row in zip(keys, rows, strict=True)
        }


def _hit(entries: Mapping[str, EntryRecord], group: list[_File]) -> Hit:
    (first, *others), *duplicates = group
    segment = first.segment
    entry = entries[segment.file_id]
    return Hit(
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
        score=first.candidate.score,
        cosine=first.candidate.cosine,
        segment_id=segment.id,
        page=segment.page,
        box=segment.box,
        others=tuple(
            Span(
                start=other.segment.start,
                end=other.segment.end,
                snippet=other.segment.snippet,
                page=other.segment.page,
                box=other.segment.box,
                score=other.candidate.score,
                cosine=other.candidate.cosine,
            )
            for other in others[:FURTHER_SPANS]
        ),
        duplicates=tuple(_duplicate(entries[best.segment.file_id], best) for best, *_ in duplicates),
    )


def _duplicate(entry: EntryRecord, best: _Found) -> Duplicate:
    return Duplicate(
        file_id=entry.file.id,
        name=entry.file.name,
        path=entry.file.path,
        item_id=entry.item_id,
        score=best.candidate.score,
        cosine=best.candidate.cosine,
        page=best.segment.page,
    )
