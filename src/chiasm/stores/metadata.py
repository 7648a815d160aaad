"""The truth about stores, files, entries, segments and vectors, in SQL.

Every public method is one transaction; what has returned is on the disk. Writers of this process wait for
each other here, so that no database has to make them.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from chiasm.errors import InvalidInput, NotFound
from chiasm.stores import rows
from chiasm.stores.database import Database
from chiasm.stores.records import Attribute, EntryRecord, FileRecord, Page, Status, StoreRecord
from chiasm.stores.schema import entries, files, stores

_REFERENCE = sa.bindparam("reference", type_=sa.String)
_STORE = (
    sa.select(*rows.STORE_COLUMNS)
    .where(
        sa.or_(stores.c.id == _REFERENCE, sa.and_(stores.c.name == _REFERENCE, stores.c.shadow_of.is_(None)))
    )
    .order_by(stores.c.id != _REFERENCE, stores.c.ordinal)
    .limit(1)
)


class Metadata:
    """Stores, files and entries; :class:`~chiasm.stores.segments.Segments` has their vectors.

    Args:
        database: the SQLite file, made if missing; or the URL of a PostgreSQL database.
        folder: where a copy goes before a newer version changes the tables.
        clock: seconds since the epoch.
    """

    def __init__(
        self, database: Path | str, *, folder: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = Database(database, folder=folder)
        self._writing = threading.RLock()
        self._clock = clock

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that may write."""
        with self._writing, self._database.write() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state and never waits for writers."""
        with self._database.read() as connection:
            yield connection

    def now(self) -> int:
        """The time that new rows get."""
        return int(self._clock())

    # Stores

    def create_store(
        self,
        name: str,
        attributes: Mapping[str, Attribute],
        *,
        model: str | None = None,
        shadow_of: str | None = None,
    ) -> StoreRecord:
        """A new, empty store. Names need not be unique."""
        record = StoreRecord(
            id=rows.new_id("vs_"),
            name=name,
            created_at=self.now(),
            attributes=dict(attributes),
            revision=None,
            dimensions=None,
            sequence=0,
            model=model,
            shadow_of=shadow_of,
        )
        with self.write() as connection:
            connection.execute(sa.insert(stores).values(asdict(record)))
        return record

    def find_store(self, reference: str) -> StoreRecord | None:
        """The store with this id, else the oldest with this name, else ``None``."""
        with self.read() as connection:
            row = connection.execute(_STORE, {"reference": reference}).first()
        return None if row is None else rows.store_of(row)

    def store(self, reference: str) -> StoreRecord:
        """As :meth:`find_store`.

        Raises:
            NotFound: there is none.
        """
        found = self.find_store(reference)
        if found is None:
            raise NotFound(
                f"there is no store {reference!r}", f"没有名为或编号为 {reference!r} 的库", param="store"
            )
        return found

    def list_stores(self, **cursor: Any) -> Page[StoreRecord]:
        """A page of stores; ``cursor`` as in :func:`page`."""
        with self.read() as connection:
            return page(
                connection,
                sa.select(*rows.STORE_COLUMNS).where(stores.c.shadow_of.is_(None)),
                stores,
                stores.c.id,
                rows.store_of,
                **cursor,
            )

    def shadows(self, store_id: str) -> list[StoreRecord]:
        """Stores that are to take this one's place."""
        query = sa.select(*rows.STORE_COLUMNS).where(stores.c.shadow_of == store_id)
        with self.read() as connection:
            return [rows.store_of(row) for row in connection.execute(query)]

    def all_entries(self, store_id: str) -> list[EntryRecord]:
        """Everything in a store, oldest first."""
        query = rows.entry_select().where(entries.c.store_id == store_id).order_by(entries.c.ordinal)
        with self.read() as connection:
            return [rows.entry_of(row) for row in connection.execute(query)]

    def count(self, store_id: str) -> int:
        """Number of entries."""
        query = sa.select(sa.func.count()).select_from(entries).where(entries.c.store_id == store_id)
        with self.read() as connection:
            return connection.scalar(query) or 0

    def set_model(self, store_id: str, model: str | None) -> None:
        """Which model makes a store's vectors from now on."""
        with self.write() as connection:
            connection.execute(sa.update(stores).where(stores.c.id == store_id).values(model=model))

    def update_store(
        self, store_id: str, *, name: str | None = None, attributes: Mapping[str, Attribute] | None = None
    ) -> StoreRecord:
        """Change the name or the attributes."""
        changes = {k: v for k, v in (("name", name), ("attributes", attributes)) if v is not None}
        if changes:
            with self.write() as connection:
                connection.execute(sa.update(stores).where(stores.c.id == store_id).values(changes))
        return self.store(store_id)

    def delete_store(self, store_id: str) -> list[FileRecord]:
        """Delete a store with all in it.

        Returns:
            The files that were deleted because nothing uses them now.
        """
        with self.write() as connection:
            used = sa.select(entries.c.file_id).where(entries.c.store_id == store_id)
            ids = list(connection.scalars(used))
            connection.execute(sa.delete(stores).where(stores.c.id == store_id))
            return drop_unused(connection, ids)

    def count_entries(self, store_id: str) -> dict[str, int]:
        """Number of entries by status."""
        query = (
            sa.select(entries.c.status, sa.func.count())
            .where(entries.c.store_id == store_id)
            .group_by(entries.c.status)
        )
        with self.read() as connection:
            return dict(connection.execute(query).all())

    def stored_bytes(self, store_id: str) -> int:
        """Bytes of the files in a store."""
        query = (
            sa.select(sa.func.coalesce(sa.func.sum(files.c.bytes), 0))
            .join(entries, entries.c.file_id == files.c.id)
            .where(entries.c.store_id == store_id)
        )
        with self.read() as connection:
            return int(connection.scalar(query) or 0)

    # Files

    def add_file(self, record: FileRecord) -> FileRecord:
        """Keep a new file's row."""
        with self.write() as connection:
            connection.execute(sa.insert(files).values(asdict(record)))
        return record

    def file(self, file_id: str) -> FileRecord:
        """The file of this id.

        Raises:
            NotFound: there is none.
        """
        with self.read() as connection:
            row = connection.execute(sa.select(*rows.FILE_COLUMNS).where(files.c.id == file_id)).first()
        if row is None:
            raise NotFound(f"there is no file {file_id!r}", f"没有文件 {file_id!r}", param="file_id")
        return rows.file_of(dict(row._mapping))

    def list_files(self, *, purpose: str | None = None, **cursor: Any) -> Page[FileRecord]:
        """A page of the files that were uploaded for themselves."""
        query = sa.select(*rows.FILE_COLUMNS).where(files.c.kept)
        if purpose is not None:
            query = query.where(files.c.purpose == purpose)
        with self.read() as connection:
            return page(
                connection, query, files, files.c.id, lambda row: rows.file_of(dict(row._mapping)), **cursor
            )

    def relocate_file(self, record: FileRecord) -> None:
        """Write down where a file lies now, its name, time and hash."""
        with self.write() as connection:
            connection.execute(sa.update(files).where(files.c.id == record.id).values(asdict(record)))

    def has_content(self, sha256: str) -> bool:
        """Whether a copied file has this content."""
        query = sa.select(files.c.id).where(files.c.sha256 == sha256, files.c.mode == "copy").limit(1)
        with self.read() as connection:
            return connection.execute(query).first() is not None

    # Entries

    def attach(
        self,
        store_id: str,
        file_id: str,
        *,
        attributes: Mapping[str, Attribute],
        status: Status = "in_progress",
    ) -> EntryRecord:
        """Put a file into a store, to be indexed; an entry that exists only gets the attributes."""
        values = {"attributes": dict(attributes)}
        with self.write() as connection:
            known = sa.update(entries).where(entries.c.store_id == store_id, entries.c.file_id == file_id)
            if not connection.execute(known.values(values)).rowcount:
                connection.execute(
                    sa.insert(entries).values(
                        store_id=store_id, file_id=file_id, status=status, created_at=self.now(), **values
                    )
                )
        return self.entry(store_id, file_id)

    def set_attributes(self, store_id: str, file_id: str, attributes: Mapping[str, Attribute]) -> EntryRecord:
        """Replace an entry's attributes."""
        with self.write() as connection:
            connection.execute(
                sa.update(entries)
                .where(entries.c.store_id == store_id, entries.c.file_id == file_id)
                .values(attributes=dict(attributes))
            )
        return self.entry(store_id, file_id)

    def find_entry(self, store_id: str, file_id: str) -> EntryRecord | None:
        """A file in a store, by file id, else by item id, else ``None``."""
        either = sa.or_(entries.c.file_id == file_id, entries.c.item_id == file_id)
        query = rows.entry_select().where(entries.c.store_id == store_id, either)
        with self.read() as connection:
            row = connection.execute(query.order_by(entries.c.file_id != file_id).limit(1)).first()
        return None if row is None else rows.entry_of(row)

    def entry(self, store_id: str, file_id: str) -> EntryRecord:
        """As :meth:`find_entry`.

        Raises:
            NotFound: it is not there.
        """
        found = self.find_entry(store_id, file_id)
        if found is None:
            raise NotFound(
                f"there is no file {file_id!r} in store {store_id!r}",
                f"库 {store_id!r} 中没有文件 {file_id!r}",
                param="file_id",
            )
        return found

    def items(self, store_id: str, item_ids: Sequence[str]) -> dict[str, EntryRecord]:
        """Those of these items that are in a store, by item id."""
        found: dict[str, EntryRecord] = {}
        with self.read() as connection:
            for start in range(0, len(item_ids), 500):
                chosen = entries.c.item_id.in_(item_ids[start : start + 500])
                query = rows.entry_select().where(entries.c.store_id == store_id, chosen)
                found |= {e.item_id or "": e for e in map(rows.entry_of, connection.execute(query))}
        return found

    def list_entries(
        self, store_id: str, *, status: Status | None = None, items: bool | None = None, **cursor: Any
    ) -> Page[EntryRecord]:
        """A page of a store's entries; ``items``: only those with (without) an own item id, which cursors
        then are."""
        query = rows.entry_select().where(entries.c.store_id == store_id)
        if status is not None:
            query = query.where(entries.c.status == status)
        if items is not None:
            query = query.where(entries.c.item_id.is_not(None) if items else entries.c.item_id.is_(None))
        with self.read() as connection:
            identity = entries.c.item_id if items else entries.c.file_id
            return page(connection, query, entries, identity, rows.entry_of, **cursor)

    def waiting(self) -> dict[str, list[str]]:
        """Ids of the files whose indexing did not come to an end, by store."""
        query = sa.select(entries.c.store_id, entries.c.file_id).where(entries.c.status == "in_progress")
        found: dict[str, list[str]] = {}
        with self.read() as connection:
            for store_id, file_id in connection.execute(query.order_by(entries.c.ordinal)):
                found.setdefault(store_id, []).append(file_id)
        return found

    def entries_in_folder(self, store_id: str, folder: str) -> list[EntryRecord]:
        """What a followed folder put into a store."""
        query = rows.entry_select().where(entries.c.store_id == store_id, entries.c.folder == folder)
        with self.read() as connection:
            return [rows.entry_of(row) for row in connection.execute(query)]


def drop_unused(connection: sa.Connection, file_ids: Sequence[str]) -> list[FileRecord]:
    """Delete those of these files that are in no store and were not uploaded for themselves."""
    dropped: list[FileRecord] = []
    for start in range(0, len(file_ids), 500):
        chosen = files.c.id.in_(file_ids[start : start + 500])
        unused = sa.and_(chosen, sa.not_(files.c.kept), files.c.id.not_in(sa.select(entries.c.file_id)))
        found = connection.execute(sa.select(*rows.FILE_COLUMNS).where(unused)).mappings()
        dropped += [rows.file_of({str(k): v for k, v in row.items()}) for row in found]
        connection.execute(sa.delete(files).where(unused))
    return dropped


def page(
    connection: sa.Connection,
    query: sa.Select[Any],
    table: sa.Table,
    identity: sa.ColumnElement[str],
    convert: Callable[[sa.Row[Any]], Any],
    *,
    after: str | None = None,
    before: str | None = None,
    limit: int = 20,
    order: str = "desc",
) -> Page[Any]:
    """One page in order of creation.

    Args:
        identity: the column that cursors name.
        after, before: ids between which the page lies, in the order of reading.
        limit: 1 to 1000.
        order: ``asc`` or ``desc``.
    """
    if not 1 <= limit <= 1000:
        raise InvalidInput(
            f"expected a limit of 1 to 1000, got {limit}",
            f"limit 应为 1 至 1000，实际为 {limit}",
            param="limit",
        )
    if order not in {"asc", "desc"}:
        raise InvalidInput(
            f"expected asc or desc, got {order!r}", f"order 应为 asc 或 desc，实际为 {order!r}", param="order"
        )
    ascending = order == "asc"
    ordinal = table.c.ordinal
    for cursor, forward in ((after, True), (before, False)):
        if cursor is not None:
            # The cursor's own row must be of this list, hence the same conditions.
            at = query.with_only_columns(ordinal).where(identity == cursor).scalar_subquery()
            query = query.where(ordinal > at if forward == ascending else ordinal < at)
    nearest_end = ascending if before is None or after is not None else not ascending
    query = query.order_by(ordinal.asc() if nearest_end else ordinal.desc()).limit(limit + 1)
    found = [convert(row) for row in connection.execute(query)]
    data = found[:limit]
    return Page(data=tuple(data if nearest_end == ascending else reversed(data)), has_more=len(found) > limit)
