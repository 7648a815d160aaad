"""The tables, alike in SQLite and PostgreSQL; :mod:`~chiasm.stores.migrations` makes these of older ones."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

tables = sa.MetaData()

# SQLite gives ids of its own to INTEGER columns only, which hold 64 bits there; PostgreSQL's hold 32.
Integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Attributes = sa.JSON().with_variant(JSONB(), "postgresql")

meta = sa.Table("meta", tables, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text))

stores = sa.Table(
    "stores",
    tables,
    sa.Column("ordinal", Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("created_at", Integer, nullable=False),
    sa.Column("attributes", Attributes, nullable=False),
    sa.Column("revision", sa.Text),
    sa.Column("dimensions", Integer),
    sa.Column("sequence", Integer, nullable=False, default=0),
    sa.Column("model", sa.Text),
    sa.Column("shadow_of", sa.Text, sa.ForeignKey("stores.id", ondelete="CASCADE"), index=True),
    sqlite_autoincrement=True,
)

files = sa.Table(
    "files",
    tables,
    sa.Column("ordinal", Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("path", sa.Text),
    sa.Column("sha256", sa.Text, index=True),
    sa.Column("bytes", Integer, nullable=False),
    sa.Column("mtime_ns", Integer),
    sa.Column("mime", sa.Text),
    sa.Column("modality", sa.Text),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("kept", sa.Boolean, nullable=False),
    sa.Column("created_at", Integer, nullable=False),
    sqlite_autoincrement=True,
)

entries = sa.Table(
    "entries",
    tables,
    sa.Column("ordinal", Integer, primary_key=True, autoincrement=True),
    sa.Column("store_id", sa.Text, sa.ForeignKey("stores.id", ondelete="CASCADE"), nullable=False),
    sa.Column("file_id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("item_id", sa.Text),
    sa.Column("folder", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("problem_code", sa.Text),
    sa.Column("problem_en", sa.Text),
    sa.Column("problem_zh", sa.Text),
    sa.Column("attributes", Attributes, nullable=False),
    sa.Column("created_at", Integer, nullable=False),
    sa.UniqueConstraint("store_id", "file_id"),
    sa.UniqueConstraint("store_id", "item_id"),
    sa.Index("entries_by_folder", "store_id", "folder"),
    sqlite_autoincrement=True,
)

# Ids are never given twice (AUTOINCREMENT): a vector index that knows an id knows its vector.
segments = sa.Table(
    "segments",
    tables,
    sa.Column("id", Integer, primary_key=True, autoincrement=True),
    sa.Column("store_id", sa.Text, nullable=False),
    sa.Column("file_id", sa.Text, nullable=False),
    sa.Column("modality", sa.Text, nullable=False),
    sa.Column("ordinal", Integer, nullable=False),
    sa.Column("start", sa.Float),
    sa.Column("end", sa.Float),
    sa.Column("snippet", sa.Text),
    sa.Column("page", sa.Integer),
    sa.Column("fingerprint", sa.Text),
    sa.Column("box", sa.JSON(none_as_null=True)),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),  # float16, little-endian
    sa.ForeignKeyConstraint(
        ["store_id", "file_id"], ["entries.store_id", "entries.file_id"], ondelete="CASCADE"
    ),
    sa.Index("segments_by_file", "store_id", "file_id"),
    sa.Index("segments_by_modality", "store_id", "modality"),
    sqlite_autoincrement=True,
)
