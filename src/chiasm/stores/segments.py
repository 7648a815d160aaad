"""Segments and their vectors, in SQL: what indexing commits, and what an index is rebuilt from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from chiasm.errors import Conflict
from chiasm.stores import rows
from chiasm.stores.metadata import Metadata, drop_unused
from chiasm.stores.records import (
    MAX_ATTRIBUTES,
    Attribute,
    EntryRecord,
    FileRecord,
    NewSegment,
    Problem,
    SegmentRecord,
    StoreRecord,
)
from chiasm.stores.schema import entries, files, segments, stores

READ_AT_ONCE = 500
OTHER_REVISION = "model_revision_mismatch"

# Every search asks these; to build them each time would cost as much as to answer them.
_RECORDS = sa.select(*rows.SEGMENT_COLUMNS).where(segments.c.id.in_(sa.bindparam("ids", expanding=True)))
_OWNERS = rows.entry_select().where(
    entries.c.store_id == sa.bindparam("store_id"),
    entries.c.file_id.in_(sa.bindparam("file_ids", expanding=True)),
)


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """A file whose indexing came to an end: with segments, or with a problem. ``found`` are attributes that
    the file states itself: those that people have set win."""

    file: FileRecord
    segments: Sequence[NewSegment] = ()
    problem: Problem | None = None
    attributes: Mapping[str, Attribute] | None = None  # None: those that the entry has
    found: Mapping[str, Attribute] = field(default_factory=dict)
    folder: str | None = None
    item_id: str | None = None


@dataclass(kw_only=True)
class Change:
    """What a transaction did to the vectors of one store, by modality."""

    sequence: int = 0
    added: dict[str, tuple[list[int], list[NDArray[np.floating]]]] = field(default_factory=dict)
    owners: dict[str, list[str]] = field(default_factory=dict)  # the files of what was added
    attributes: dict[str, Mapping[str, Attribute]] = field(default_factory=dict)  # that files have now
    removed: dict[str, list[int]] = field(default_factory=dict)
    dropped_files: list[FileRecord] = field(default_factory=list)


class Segments:
    """The vectors' side of :class:`Metadata`."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def commit(self, store_id: str, indexed: Sequence[Indexed], *, revision: str, dimensions: int) -> Change:
        """Make these searchable (or recorded as failed) in one transaction; what a file had before goes.

        Raises:
            Conflict: the store's vectors are of another model revision or of other dimensions.
        """
        change = Change()
        with self._metadata.write() as connection:
            self._bind(connection, store_id, revision, dimensions)
            _upsert_files(connection, [one.file for one in indexed])
            known = _upsert_entries(connection, store_id, indexed, self._metadata.now())
            change.attributes = {
                one.file.id: one.attributes or {}
                for one in indexed
                if one.attributes is not None or one.file.id not in known
            }
            _delete_segments(connection, store_id, known, change)
            _insert_segments(connection, store_id, indexed, revision, change)
            change.sequence = _advance(connection, store_id)
        return change

    def remove(self, store_id: str, file_ids: Sequence[str]) -> Change:
        """Take files out of a store; those that are of no further use are deleted."""
        change = Change()
        with self._metadata.write() as connection:
            _delete_segments(connection, store_id, file_ids, change)
            for start in range(0, len(file_ids), READ_AT_ONCE):
                chosen = entries.c.file_id.in_(file_ids[start : start + READ_AT_ONCE])
                connection.execute(sa.delete(entries).where(entries.c.store_id == store_id, chosen))
            change.dropped_files = drop_unused(connection, file_ids)
            change.sequence = _advance(connection, store_id)
        return change

    def take_over(self, store_id: str, shadow: StoreRecord) -> None:
        """Give a store the vectors, the outcomes and the model of a shadow that has the same files, in one
        transaction; the shadow is gone afterwards.
        """
        outcome = (entries.c.status, entries.c.problem_code, entries.c.problem_en, entries.c.problem_zh)
        with self._metadata.write() as connection:
            made = connection.execute(
                sa.select(entries.c.file_id.label("b_file_id"), *outcome).where(
                    entries.c.store_id == shadow.id
                )
            )
            values = [dict(row._mapping) for row in made]
            change = (
                sa.update(entries)
                .where(entries.c.store_id == store_id, entries.c.file_id == sa.bindparam("b_file_id"))
                .values({column.name: sa.bindparam(column.name) for column in outcome})
            )
            if values:
                connection.execute(change, values)
            connection.execute(sa.delete(segments).where(segments.c.store_id == store_id))
            connection.execute(
                sa.update(segments).where(segments.c.store_id == shadow.id).values(store_id=store_id)
            )
            connection.execute(sa.delete(stores).where(stores.c.id == shadow.id))
            connection.execute(
                sa.update(stores)
                .where(stores.c.id == store_id)
                .values(model=shadow.model, revision=shadow.revision, dimensions=shadow.dimensions)
            )
            _advance(connection, store_id)

    def delete_file(self, file_id: str) -> dict[str, Change]:
        """Delete a file and take it out of all stores; what changed, by store id."""
        changes: dict[str, Change] = {}
        with self._metadata.write() as connection:
            for store_id in connection.scalars(
                sa.select(entries.c.store_id).where(entries.c.file_id == file_id)
            ):
                changes[store_id] = Change()
            for store_id, change in changes.items():
                _delete_segments(connection, store_id, [file_id], change)
                change.sequence = _advance(connection, store_id)
            connection.execute(sa.delete(files).where(files.c.id == file_id))
        return changes

    def of_file(self, store_id: str, file_id: str) -> list[SegmentRecord]:
        """A file's segments, in order."""
        query = (
            sa.select(*rows.SEGMENT_COLUMNS)
            .where(segments.c.store_id == store_id, segments.c.file_id == file_id)
            .order_by(segments.c.ordinal)
        )
        with self._metadata.read() as connection:
            return [rows.segment_of(row) for row in connection.execute(query)]

    def new_copies(self, store_id: str, sha256: str) -> list[NewSegment]:
        """Segments, with vectors, of a file of this content in this store; empty if there is none."""
        with self._metadata.read() as connection:
            source = connection.scalar(
                sa.select(segments.c.file_id)
                .join(files, files.c.id == segments.c.file_id)
                .where(segments.c.store_id == store_id, files.c.sha256 == sha256)
                .limit(1)
            )
            found = connection.execute(
                sa.select(segments)
                .where(segments.c.store_id == store_id, segments.c.file_id == source)
                .order_by(segments.c.ordinal)
            ).all()
        return [
            NewSegment(
                modality=row.modality,
                vector=rows.from_blobs([row.vector], len(row.vector) // 2)[0],
                start=row.start,
                end=row.end,
                snippet=row.snippet,
                page=row.page,
                fingerprint=row.fingerprint,
                box=row.box and tuple(row.box),
            )
            for row in found
        ]

    def sequence(self, store_id: str) -> int:
        """How many changes a store has seen."""
        with self._metadata.read() as connection:
            return connection.scalar(sa.select(stores.c.sequence).where(stores.c.id == store_id)) or 0

    def modalities(self, store_id: str) -> dict[str, int]:
        """Number of segments by modality."""
        query = (
            sa.select(segments.c.modality, sa.func.count())
            .where(segments.c.store_id == store_id)
            .group_by(segments.c.modality)
        )
        with self._metadata.read() as connection:
            return dict(connection.execute(query).all())

    def ids(self, store_id: str, modality: str) -> NDArray[np.uint64]:
        """Ascending ids of a modality's segments."""
        query = sa.select(segments.c.id).where(
            segments.c.store_id == store_id, segments.c.modality == modality
        )
        with self._metadata.read() as connection:
            return np.sort(np.array(connection.scalars(query).all(), np.uint64))

    def attributes(self, store_id: str) -> dict[str, Mapping[str, Attribute]]:
        """The attributes of all files in a store."""
        query = sa.select(entries.c.file_id, entries.c.attributes).where(entries.c.store_id == store_id)
        with self._metadata.read() as connection:
            return {row.file_id: row.attributes for row in connection.execute(query)}

    def owners_of_ids(self, store_id: str) -> dict[str, tuple[list[int], list[str]]]:
        """By modality, the ids of all segments, ascending, and the files that they are of."""
        query = (
            sa.select(segments.c.modality, segments.c.id, segments.c.file_id)
            .where(segments.c.store_id == store_id)
            .order_by(segments.c.id)
        )
        found: dict[str, tuple[list[int], list[str]]] = {}
        with self._metadata.read() as connection:
            for modality, segment_id, file_id in connection.execute(query):
                ids, owners = found.setdefault(modality, ([], []))
                ids.append(segment_id)
                owners.append(file_id)
        return found

    def vectors(self, ids: NDArray[np.uint64], dimensions: int) -> Iterator[tuple[NDArray[np.uint64], Any]]:
        """The vectors of these segments, some at a time: ids [n] and float32 [n, dimensions]."""
        for start in range(0, len(ids), READ_AT_ONCE):
            chosen = [int(i) for i in ids[start : start + READ_AT_ONCE]]
            query = sa.select(segments.c.id, segments.c.vector).where(segments.c.id.in_(chosen))
            with self._metadata.read() as connection:
                found = connection.execute(query).all()
            if found:
                yield (
                    np.array([row.id for row in found], np.uint64),
                    rows.from_blobs([row.vector for row in found], dimensions),
                )

    def records(self, ids: Sequence[int]) -> dict[int, SegmentRecord]:
        """Segments by id; ids that are gone are left out."""
        found: dict[int, SegmentRecord] = {}
        with self._metadata.read() as connection:
            for start in range(0, len(ids), READ_AT_ONCE):
                chosen = [int(i) for i in ids[start : start + READ_AT_ONCE]]
                found |= {
                    row.id: rows.segment_of(row) for row in connection.execute(_RECORDS, {"ids": chosen})
                }
        return found

    def owners(self, store_id: str, file_ids: Sequence[str]) -> dict[str, EntryRecord]:
        """Entries by file id; those that are gone are left out."""
        found: dict[str, EntryRecord] = {}
        with self._metadata.read() as connection:
            for start in range(0, len(file_ids), READ_AT_ONCE):
                chosen = {"store_id": store_id, "file_ids": file_ids[start : start + READ_AT_ONCE]}
                read = map(rows.entry_of, connection.execute(_OWNERS, chosen))
                found |= {entry.file.id: entry for entry in read}
        return found

    def _bind(self, connection: sa.Connection, store_id: str, revision: str, dimensions: int) -> None:
        row = connection.execute(
            sa.select(stores.c.revision, stores.c.dimensions).where(stores.c.id == store_id)
        ).one()
        if row.revision is None:
            values = {"revision": revision, "dimensions": dimensions}
            connection.execute(sa.update(stores).where(stores.c.id == store_id).values(values))
        elif (row.revision, row.dimensions) != (revision, dimensions):
            raise other_revision(row.revision, row.dimensions, revision, dimensions)


def other_revision(revision: str, dimensions: int, got: str, got_dimensions: int) -> Conflict:
    """The error for vectors that a store cannot take or compare."""
    return Conflict(
        f"expected vectors of model revision {revision} with {dimensions} dimensions, which made this store, "
        f"got {got} with {got_dimensions}; re-embed the store (POST …/reembed), or serve the former model",
        f"此库由模型版本 {revision}（{dimensions} 维）建立，实际为 {got}（{got_dimensions} 维）；"
        "请用新模型重建此库的向量（POST …/reembed），或改用原来的模型",
        code=OTHER_REVISION,
    )


def _delete_segments(
    connection: sa.Connection, store_id: str, file_ids: Sequence[str], change: Change
) -> None:
    for start in range(0, len(file_ids), READ_AT_ONCE):
        chosen = segments.c.file_id.in_(file_ids[start : start + READ_AT_ONCE])
        condition = sa.and_(segments.c.store_id == store_id, chosen)
        for row in connection.execute(sa.select(segments.c.id, segments.c.modality).where(condition)):
            change.removed.setdefault(row.modality, []).append(row.id)
        connection.execute(sa.delete(segments).where(condition))


def _upsert_files(connection: sa.Connection, records: Sequence[FileRecord]) -> None:
    known = _present(connection, files.c.id, [record.id for record in records])
    new = [asdict(record) for record in records if record.id not in known]
    changed = [{**asdict(record), "b_id": record.id} for record in records if record.id in known]
    if new:
        connection.execute(sa.insert(files), new)
    if changed:
        values: dict[str, Any] = {
            name: sa.bindparam(name) for name in changed[0] if name not in {"b_id", "id"}
        }
        connection.execute(sa.update(files).where(files.c.id == sa.bindparam("b_id")).values(values), changed)


def _upsert_entries(
    connection: sa.Connection, store_id: str, indexed: Sequence[Indexed], now: int
) -> list[str]:
    """Write the entries of these files; the ids of those that were there before."""
    ids = [one.file.id for one in indexed]
    known = _present(connection, entries.c.file_id, ids, entries.c.store_id == store_id)
    new = [
        {
            **_entry_values(one),
            "attributes": _with_found(one.attributes or {}, one.found),
            "store_id": store_id,
            "file_id": one.file.id,
            "created_at": now,
        }
        for one in indexed
        if one.file.id not in known
    ]
    if new:
        connection.execute(sa.insert(entries), new)
    for one in indexed:
        if one.file.id in known:
            values = _entry_values(one)
            of_entry = sa.and_(entries.c.store_id == store_id, entries.c.file_id == one.file.id)
            given = one.attributes
            if given is None and one.found:
                given = connection.scalar(sa.select(entries.c.attributes).where(of_entry)) or {}
            if given is not None:
                values["attributes"] = _with_found(given, one.found)
            connection.execute(sa.update(entries).where(of_entry).values(values))
    return [file_id for file_id in ids if file_id in known]


def _with_found(given: Mapping[str, Attribute], found: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """What people have set, then what the file states, as long as there is room."""
    room = max(0, MAX_ATTRIBUTES - len(given))
    added = [(name, value) for name, value in found.items() if name not in given][:room]
    return {**given, **dict(added)}


def _entry_values(one: Indexed) -> dict[str, Any]:
    problem = one.problem
    return {
        "status": "failed" if problem else "completed",
        "problem_code": problem.code if problem else None,
        "problem_en": problem.en if problem else None,
        "problem_zh": problem.zh if problem else None,
        "folder": one.folder,
        "item_id": one.item_id,
    }


def _present(
    connection: sa.Connection,
    column: sa.ColumnElement[str],
    ids: Sequence[str],
    *conditions: sa.ColumnElement[bool],
) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(ids), READ_AT_ONCE):
        chosen = column.in_(ids[start : start + READ_AT_ONCE])
        found |= set(connection.scalars(sa.select(column).where(chosen, *conditions)))
    return found


def _insert_segments(
    connection: sa.Connection, store_id: str, indexed: Sequence[Indexed], revision: str, change: Change
) -> None:
    values: list[dict[str, Any]] = []
    vectors: list[NDArray[np.floating]] = []
    for one in indexed:
        for ordinal, segment in enumerate(one.segments):
            vectors.append(segment.vector)
            change.owners.setdefault(segment.modality, []).append(one.file.id)
            values.append(
                {
                    "store_id": store_id,
                    "file_id": one.file.id,
                    "modality": segment.modality,
                    "ordinal": ordinal,
                    "start": segment.start,
                    "end": segment.end,
                    "snippet": segment.snippet
                    and segment.snippet.replace("\0", "\ufffd"),  # PostgreSQL has none
                    "page": segment.page,
                    "fingerprint": segment.fingerprint,
                    "box": segment.box and list(segment.box),
                    "revision": revision,
                    "vector": rows.to_blob(segment.vector),
                }
            )
    if not values:
        return
    insert = sa.insert(segments).returning(segments.c.id, sort_by_parameter_order=True)
    for key, value, vector in zip(connection.scalars(insert, values), values, vectors, strict=True):
        ids, added = change.added.setdefault(value["modality"], ([], []))
        ids.append(key)
        added.append(vector)


def _advance(connection: sa.Connection, store_id: str) -> int:
    connection.execute(
        sa.update(stores).where(stores.c.id == store_id).values(sequence=stores.c.sequence + 1)
    )
    return connection.scalar(sa.select(stores.c.sequence).where(stores.c.id == store_id)) or 0
