"""The tables, and how the database that holds them is opened."""

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from chiasm.errors import StoreError

SCHEMA_VERSION = 1
BUSY_MILLISECONDS = 10_000

tables = sa.MetaData()

meta = sa.Table("meta", tables, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text))

stores = sa.Table(
    "stores",
    tables,
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("created_at", sa.Integer, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("revision", sa.Text),
    sa.Column("dimensions", sa.Integer),
    sa.Column("sequence", sa.Integer, nullable=False, default=0),
    sqlite_autoincrement=True,
)

files = sa.Table(
    "files",
    tables,
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("path", sa.Text),
    sa.Column("sha256", sa.Text, index=True),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("mtime_ns", sa.Integer),
    sa.Column("mime", sa.Text),
    sa.Column("modality", sa.Text),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("kept", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Integer, nullable=False),
    sqlite_autoincrement=True,
)

entries = sa.Table(
    "entries",
    tables,
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("store_id", sa.Text, sa.ForeignKey("stores.id", ondelete="CASCADE"), nullable=False),
    sa.Column("file_id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("item_id", sa.Text),
    sa.Column("folder", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("problem_code", sa.Text),
    sa.Column("problem_en", sa.Text),
    sa.Column("problem_zh", sa.Text),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Integer, nullable=False),
    sa.UniqueConstraint("store_id", "file_id"),
    sa.UniqueConstraint("store_id", "item_id"),
    sa.Index("entries_by_folder", "store_id", "folder"),
    sqlite_autoincrement=True,
)

# Ids are never given twice (AUTOINCREMENT): a vector index that knows an id knows its vector.
segments = sa.Table(
    "segments",
    tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("store_id", sa.Text, nullable=False),
    sa.Column("file_id", sa.Text, nullable=False),
    sa.Column("modality", sa.Text, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("start", sa.Float),
    sa.Column("end", sa.Float),
    sa.Column("snippet", sa.Text),
    sa.Column("page", sa.Integer),
    sa.Column("fingerprint", sa.Text),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),  # float16, little-endian
    sa.ForeignKeyConstraint(
        ["store_id", "file_id"], ["entries.store_id", "entries.file_id"], ondelete="CASCADE"
    ),
    sa.Index("segments_by_file", "store_id", "file_id"),
    sa.Index("segments_by_modality", "store_id", "modality"),
    sqlite_autoincrement=True,
)


def open_database(path: Path) -> sa.Engine:
    """Open or make the database. What was committed survives a power cut (WAL, ``synchronous=FULL``).

    Raises:
        StoreError: not a database, made by a newer version, or not writable.
    """
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            tables.create_all(connection)
            _add_missing_columns(connection)
            connection.execute(
                sa.text("INSERT OR IGNORE INTO meta VALUES ('schema', :v)"), {"v": str(SCHEMA_VERSION)}
            )
            found = connection.scalar(sa.select(meta.c.value).where(meta.c.key == "schema"))
    except sa.exc.DatabaseError as error:
        engine.dispose()
        raise StoreError(
            f"expected a usable database in {path}, got: {error.orig}",
            f"{path} 不是可用的数据库：{error.orig}",
        ) from error
    if found != str(SCHEMA_VERSION):
        engine.dispose()
        raise StoreError(
            f"expected schema version {SCHEMA_VERSION} in {path}, got {found}; use the chiasm that made it",
            f"{path} 的结构版本应为 {SCHEMA_VERSION}，实际为 {found}；请使用创建它的 chiasm 版本",
        )
    return engine


def _add_missing_columns(connection: sa.Connection) -> None:
    """Columns that a database of this schema version may lack because they came later. They may be empty, so
    that a chiasm that does not know them goes on with the same database."""
    looking = sa.inspect(connection)
    for table in tables.sorted_tables:
        present = {column["name"] for column in looking.get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                assert column.nullable
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # so that BEGIN is ours
    for pragma in (
        f"busy_timeout={BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
