from pathlib import Path

import pytest
import sqlalchemy as sa

from chiasm.errors import InvalidInput, NotFound
from chiasm.stores import Metadata, Page, StoreRecord
from chiasm.stores.schema import stores


@pytest.fixture
def metadata(database: Path | str, tmp_path: Path):
    opened = Metadata(database, folder=tmp_path, clock=lambda: 1234.5)
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


def test_readers_see_one_state_and_do_not_wait(metadata: Metadata) -> None:
    with metadata.write() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = value")
        assert metadata.list_stores().data == ()
    count = sa.select(sa.func.count()).select_from(stores)
    with metadata.read() as before:
        assert before.scalar(count) == 0
        metadata.create_store("mine", {})
        assert before.scalar(count) == 0
    with metadata.read() as after:
        assert after.scalar(count) == 1


def test_commits_are_durable(database: Path | str) -> None:
    metadata = Metadata(database)
    with metadata.write() as connection:
        if isinstance(database, Path):
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        else:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    metadata.close()
