import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chiasm.errors import InvalidInput, NotFound, StoreError
from chiasm.stores import Metadata, Page, StoreRecord


@pytest.fixture
def metadata(tmp_path: Path):
    opened = Metadata(tmp_path / "library.sqlite", clock=lambda: 1234.5)
    yield opened
    opened.close()


def names(page: Page[StoreRecord]) -> list[str]:
    return [store.name for store in page.data]


def test_a_store_is_known_by_id_and_by_name_the_oldest_first(metadata: Metadata) -> None:
    first = metadata.create_store("mine", {"for": "tests"})
    metadata.create_store("mine", {})
    assert metadata.store(first.id) == metadata.store("mine") == first
    assert (first.created_at, first.attributes) == (1234, {"for": "tests"})
    with pytest.raises(NotFound):
        metadata.store("yours")


def test_pages_walk_forwards_and_backwards(metadata: Metadata) -> None:
    ids = {name: metadata.create_store(name, {}).id for name in "abcdef"}
    first = metadata.list_stores(limit=2)
    assert (names(first), first.has_more) == (["f", "e"], True)
    assert names(metadata.list_stores(limit=2, after=ids["e"])) == ["d", "c"]
    last = metadata.list_stores(limit=2, after=ids["c"])
    assert (names(last), last.has_more) == (["b", "a"], False)
    assert names(metadata.list_stores(limit=2, before=ids["c"])) == ["e", "d"]
    assert names(metadata.list_stores(limit=2, order="asc")) == ["a", "b"]
    assert names(metadata.list_stores(limit=2, order="asc", after=ids["b"])) == ["c", "d"]
    assert names(metadata.list_stores(limit=2, order="asc", before=ids["d"])) == ["b", "c"]


@pytest.mark.parametrize("cursor", [{"limit": 0}, {"limit": 1001}, {"order": "random"}])
def test_a_page_that_cannot_be_is_refused(metadata: Metadata, cursor: dict) -> None:
    with pytest.raises(InvalidInput):
        metadata.list_stores(**cursor)


def test_commits_are_durable_and_readers_do_not_wait(metadata: Metadata, tmp_path: Path) -> None:
    with metadata.write() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        connection.exec_driver_sql("UPDATE meta SET value = value")
        assert metadata.list_stores().data == ()


def test_a_database_of_another_version_or_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer.sqlite"
    Metadata(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    database.close()
    with pytest.raises(StoreError, match="99"):
        Metadata(path)
    (tmp_path / "noise.sqlite").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError, match=r"noise\.sqlite"):
        Metadata(tmp_path / "noise.sqlite")


def test_a_database_from_before_a_column_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "library.sqlite"
    Metadata(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE segments DROP COLUMN page")
    Metadata(path).close()
    Metadata(path).close()
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(segments)")]
    assert columns.count("page") == 1
