"""How a database of an older version becomes one of the present version, one numbered step after another.

A new version is a :class:`Migration` at the end of :data:`MIGRATIONS`, and the same change in
:mod:`~chiasm.stores.schema` for databases that are new. It comes with the dump of a library of that version
(``tests/golden/make_library.py``), from which the tests of all later ones start. Columns are only ever added,
and may be null or have a default: that is what lets an older backup be restored.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chiasm.stores.schema import meta, segments, stores, tables

VERSION_KEY = "schema"
LIBRARY_KEY = "library"


def _nothing(_connection: sa.Connection) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Migration:
    """A step from one version to the next.

    Attributes:
        tables: changes the tables; ``ALTER TABLE … ADD COLUMN``, new tables and indexes.
        rows: changes what is in them; the only part that a restored older backup needs.
    """

    tables: Callable[[sa.Connection], None] = _nothing
    rows: Callable[[sa.Connection], None] = _nothing


def name_the_library(connection: sa.Connection) -> None:
    """A library has an id, so that a backup is continued only by the library that began it."""
    connection.execute(sa.insert(meta).values(key=LIBRARY_KEY, value=secrets.token_hex(12)))


def add_pages(connection: sa.Connection) -> None:
    """Segments know their page and what a picture looks like; some databases of version 1 have it already."""
    present = {column["name"] for column in sa.inspect(connection).get_columns(segments.name)}
    for column in (segments.c.page, segments.c.fingerprint):
        if column.name not in present:
            kind = column.type.compile(connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {segments.name} ADD COLUMN {column.name} {kind}")


def add_boxes(connection: sa.Connection) -> None:
    """Segments know where in a picture they lie."""
    column = segments.c.box
    kind = column.type.compile(connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {segments.name} ADD COLUMN {column.name} {kind}")


def add_models(connection: sa.Connection) -> None:
    """Stores have a model, and may be made anew with another beside what they are."""
    for column in (stores.c.model, stores.c.shadow_of):
        kind = column.type.compile(connection.dialect)
        refers = f" REFERENCES {stores.name} (id) ON DELETE CASCADE" if column.foreign_keys else ""
        connection.exec_driver_sql(f"ALTER TABLE {stores.name} ADD COLUMN {column.name} {kind}{refers}")
    [shadows] = [index for index in stores.indexes if stores.c.shadow_of in index.columns.values()]
    shadows.create(connection)


MIGRATIONS: Sequence[Migration] = (
    Migration(rows=name_the_library),  # 2
    Migration(tables=add_pages),  # 3
    Migration(tables=add_boxes),  # 4
    Migration(tables=add_models),  # 5
)
"""The first leads from version 1 to version 2."""

SCHEMA_VERSION = 1 + len(MIGRATIONS)


def create(connection: sa.Connection) -> None:
    """All tables of the present version, in a database that has none of them."""
    tables.create_all(connection, checkfirst=False)
    connection.execute(sa.insert(meta).values(key=VERSION_KEY, value=str(SCHEMA_VERSION)))
    name_the_library(connection)


def migrate(connection: sa.Connection, found: int, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Go from version ``found`` to the last; in the caller's transaction, so that it is all or nothing."""
    for step in steps[found - 1 :]:
        step.tables(connection)
        step.rows(connection)
    _stamp(connection, 1 + len(steps))


def catch_up(connection: sa.Connection, found: int) -> None:
    """Bring rows that were written by version ``found`` up to date, in tables of the present version."""
    for step in MIGRATIONS[found - 1 :]:
        step.rows(connection)
    _stamp(connection, SCHEMA_VERSION)


def _stamp(connection: sa.Connection, version: int) -> None:
    connection.execute(sa.update(meta).where(meta.c.key == VERSION_KEY).values(value=str(version)))


def version_of(connection: sa.Connection) -> int | None:
    """The version of the tables that are there; ``None`` without any, 0 for tables that are not ours."""
    names = set(sa.inspect(connection).get_table_names())
    if meta.name not in names:
        return 0 if names & set(tables.tables) else None
    found = connection.scalar(sa.select(meta.c.value).where(meta.c.key == VERSION_KEY))
    return int(found) if found is not None and found.isascii() and found.isdigit() else 0


def library_of(connection: sa.Connection) -> str:
    """The id of the library in this database."""
    return connection.scalar(sa.select(meta.c.value).where(meta.c.key == LIBRARY_KEY)) or ""
