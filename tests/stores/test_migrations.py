"""Databases of every version that there was become ones of the present version, or stay as they were."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from library_fakes import FakeEmbedder, cutter, settings_for, vector_of

from chiasm.errors import StoreError
from chiasm.library import Library
from chiasm.stores import Metadata, migrations, schema
from chiasm.stores.database import Database
from chiasm.stores.migrations import SCHEMA_VERSION, Migration

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = range(1, SCHEMA_VERSION + 1)  # with the present one: tables do not change without a new version


def old_library(folder: Path, version: int) -> Path:
    """A data directory whose database was made by the code of that version."""
    folder.mkdir()
    path = folder / "library.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript((GOLDEN / f"library-v{version}.sql").read_text(encoding="utf-8"))
    return path


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def rows(path: Path, table: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f'SELECT * FROM "{table}"').fetchall()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_library_of_each_version_can_be_used_and_a_copy_is_kept(tmp_path: Path, version: int) -> None:
    path = old_library(tmp_path / "data", version)
    before = contents(path)
    with Library(settings_for(tmp_path / "data"), FakeEmbedder(), cutter) as library:
        assert library.get_store("mine").files == {"completed": 4, "failed": 1, "in_progress": 1}
        hit = library.search("mine", vector_of("red apple"), "text")[0]
        assert (hit.name, hit.attributes) == ("apple.txt", {"year": 2024, "good": True})
        library.add_file("mine", b"a new text", "new.txt")
    kept = tmp_path / "data" / f"library-v{version}.sqlite"
    assert kept.exists() == (version < SCHEMA_VERSION)
    if kept.exists():
        assert contents(kept) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_a_migrated_database_has_the_tables_of_a_new_one(tmp_path: Path, version: int) -> None:
    path = old_library(tmp_path / "old", version)
    Metadata(path).close()
    Metadata(tmp_path / "new.sqlite").close()
    assert shape(path) == shape(tmp_path / "new.sqlite")


def shape(path: Path) -> dict[str, set[tuple]]:
    engine = sa.create_engine(f"sqlite:///{path}")
    found = sa.inspect(engine)
    shapes = {
        table: {(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)}
        | {("index", i["name"], *i["column_names"]) for i in found.get_indexes(table)}
        for table in found.get_table_names()
    }
    engine.dispose()
    return shapes


@pytest.fixture
def failing_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A next version whose migration breaks after it has changed tables and rows."""

    def change(connection: sa.Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE files ADD COLUMN half INTEGER")
        connection.execute(sa.delete(schema.segments))

    def breaks(_connection: sa.Connection) -> None:
        raise ZeroDivisionError

    steps = (*migrations.MIGRATIONS, Migration(tables=change, rows=breaks))
    monkeypatch.setattr(migrations.migrate, "__kwdefaults__", None)
    monkeypatch.setattr(migrations.migrate, "__defaults__", (steps,))
    monkeypatch.setattr(migrations, "SCHEMA_VERSION", 1 + len(steps))
    return


def test_a_migration_that_breaks_changes_nothing(database: Path | str, tmp_path: Path, request) -> None:
    Metadata(database, folder=tmp_path).close()
    before = all_rows(database)
    request.getfixturevalue("failing_step")
    with pytest.raises(ZeroDivisionError):
        Metadata(database, folder=tmp_path)
    request.getfixturevalue("monkeypatch").undo()
    assert all_rows(database) == before
    Metadata(database, folder=tmp_path).close()


def all_rows(database: Path | str) -> dict[str, list]:
    with closing(Database(database, own=False)) as opened, opened.read() as connection:
        names = sa.inspect(connection).get_table_names()
        found = {n: [tuple(r) for r in connection.exec_driver_sql(f"SELECT * FROM {n}")] for n in names}
        found["columns"] = [c["name"] for n in names for c in sa.inspect(connection).get_columns(n)]
        found["meta"] = [row for row in found["meta"] if row[0] != "owner"]
        return found


def test_a_newer_version_is_refused_and_left_alone(database: Path | str, tmp_path: Path) -> None:
    metadata = Metadata(database, folder=tmp_path)
    with metadata.write() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '99' WHERE key = 'schema'")
    metadata.close()
    with pytest.raises(StoreError, match=f"{SCHEMA_VERSION} or older.*99") as caught:
        Metadata(database, folder=tmp_path)
    assert caught.value.code == "newer_schema"


def test_who_only_reads_changes_nothing(tmp_path: Path) -> None:
    path = old_library(tmp_path / "data", 1)
    before = contents(path)
    with pytest.raises(StoreError, match="start chiasm on it once"):
        Database(path, own=False)
    assert contents(path) == before


def test_a_library_has_an_id_of_its_own(database: Path | str, tmp_path: Path) -> None:
    found = []
    for place in (database, tmp_path / "other.sqlite"):
        opened = Database(place, folder=tmp_path)
        with opened.read() as connection:
            found.append(migrations.library_of(connection))
        opened.close()
    assert len(set(found) - {""}) == 2
