"""A dump of one kind of database can be read by the other."""

import io
import json
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from test_migrations import old_library

from chiasm.errors import StoreError
from chiasm.stores import Metadata, dump, schema
from chiasm.stores.database import Database


def migrated(folder: Path) -> Path:
    """A database with every kind of row."""
    path = old_library(folder, 1)
    Metadata(path).close()
    return path


def dumped(database: Path | str) -> bytes:
    out = io.BytesIO()
    with closing(Database(database, own=False)) as opened, opened.read() as connection:
        dump.write(connection, out)
    return out.getvalue()


def load(data: bytes, database: Path | str, folder: Path) -> None:
    with closing(Database(database, folder=folder)) as opened, opened.write() as connection:
        dump.load(connection, io.BytesIO(data))


def test_what_is_written_comes_back_whichever_the_database(database: Path | str, tmp_path: Path) -> None:
    data = dumped(migrated(tmp_path / "data"))
    load(data, database, tmp_path)
    again = dumped(database)
    assert again == data
    load(again, tmp_path / "back.sqlite", tmp_path)
    assert dumped(tmp_path / "back.sqlite") == data


def test_new_rows_go_on_where_the_old_ones_ended(database: Path | str, tmp_path: Path) -> None:
    load(dumped(migrated(tmp_path / "data")), database, tmp_path)
    metadata = Metadata(database)
    metadata.create_store("new", {})
    assert [s.name for s in metadata.list_stores(order="asc").data] == ["mine", "empty", "new"]
    metadata.close()


def test_a_dump_of_an_older_version_is_brought_up_to_date(database: Path | str, tmp_path: Path) -> None:
    path = old_library(tmp_path / "data", 1)
    out = io.BytesIO()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert dump.write(connection, out).schema == 1
    engine.dispose()
    load(out.getvalue(), database, tmp_path)
    with closing(Database(database, own=False)) as opened, opened.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.files)) == 7


def test_what_is_there_is_not_mixed_with_a_dump(database: Path | str, tmp_path: Path) -> None:
    data = dumped(migrated(tmp_path / "data"))
    metadata = Metadata(database)
    metadata.create_store("mine", {})
    metadata.close()
    with pytest.raises(StoreError, match="empty database"):
        load(data, database, tmp_path)


def cut(data: bytes) -> bytes:
    return b"\n".join(data.splitlines()[:-1])


def short(data: bytes) -> bytes:
    lines = data.splitlines()
    return b"\n".join([*lines[:-2], lines[-1]])


def newer(data: bytes) -> bytes:
    head, *lines = data.splitlines()
    return b"\n".join([json.dumps({**json.loads(head), "schema": 99}).encode(), *lines])


def noise(_data: bytes) -> bytes:
    return b"noise\n"


def foreign_table(data: bytes) -> bytes:
    return data.replace(b'"table":"files"', b'"table":"sqlite_master"', 1)


@pytest.mark.parametrize("damage", [cut, short, newer, noise, foreign_table, lambda _: b""])
def test_a_damaged_dump_leaves_the_database_empty(damage, tmp_path: Path) -> None:
    data = dumped(migrated(tmp_path / "data"))
    with pytest.raises(StoreError):
        load(damage(data), tmp_path / "new.sqlite", tmp_path)
    load(data, tmp_path / "new.sqlite", tmp_path)
