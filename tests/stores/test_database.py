"""What is true of both databases, and of the one that several machines can reach."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg
import pytest

from chiasm.errors import Conflict, InvalidInput, SettingsError, StorageFull, StoreError
from chiasm.stores import FileRecord, Indexed, Metadata, NewSegment, Segments
from chiasm.stores.database import Database, place_of, url_of
from chiasm.stores.rows import new_id
from postgresql_server import PostgreSQL

OPEN = """
import sys
from chiasm.stores import Metadata
metadata = Metadata(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def item(metadata: Metadata, name: str) -> Indexed:
    record = FileRecord(
        id=new_id("file-"), name=name, mode="item", path=None, sha256=None, bytes=0, mtime_ns=None,
        mime=None, modality="text", purpose="item", kept=False, created_at=metadata.now(),
    )  # fmt: skip
    segment = NewSegment(modality="text", vector=np.eye(4)[0], snippet=name)
    return Indexed(file=record, segments=[segment], item_id=name)


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.05)


def test_ids_of_segments_ascend_and_are_never_given_twice(database: Path | str) -> None:
    metadata = Metadata(database)
    segments, store = Segments(metadata), metadata.create_store("s", {}).id
    first = segments.commit(store, [item(metadata, n) for n in "abc"], revision="r", dimensions=4)
    ids = first.added["text"][0]
    assert ids == sorted(set(ids))
    segments.remove(store, [metadata.entry(store, "c").file.id])
    again = segments.commit(store, [item(metadata, "d")], revision="r", dimensions=4)
    assert again.added["text"][0][0] > ids[-1]
    metadata.close()


def test_sizes_and_times_beyond_32_bits_are_kept(database: Path | str) -> None:
    metadata = Metadata(database, clock=lambda: 2.0**33)
    record = item(metadata, "x").file
    stored = metadata.add_file(
        FileRecord(**{**vars(record), "bytes": 1 << 40, "mtime_ns": 1 << 61, "mode": "reference"})
    )
    assert metadata.file(stored.id) == stored
    assert stored.created_at == 2**33
    metadata.close()


def test_the_character_that_postgresql_has_not_does_not_stop_an_indexing(database: Path | str) -> None:
    metadata = Metadata(database)
    segments, store = Segments(metadata), metadata.create_store("s", {}).id
    segment = NewSegment(modality="text", vector=np.eye(4)[0], snippet="a\0b")
    one = item(metadata, "x")
    segments.commit(store, [Indexed(file=one.file, segments=[segment])], revision="r", dimensions=4)
    assert [s.snippet for s in segments.of_file(store, one.file.id)] == ["a\ufffdb"]
    metadata.close()


def test_what_goes_into_a_store_that_has_just_gone_is_a_conflict(database: Path | str) -> None:
    metadata = Metadata(database)
    file = metadata.add_file(item(metadata, "x").file)
    with pytest.raises(Conflict):
        metadata.attach("vs_gone", file.id, attributes={})
    metadata.close()


def test_tables_of_something_else_are_left_alone(database: Path | str) -> None:
    if isinstance(database, Path):
        with sqlite3.connect(database) as other:
            other.execute("CREATE TABLE files (x INTEGER)")
        other.close()
    else:
        with psycopg.connect(database) as connection:
            connection.execute("CREATE TABLE files (x INTEGER)")
    with pytest.raises(StoreError, match="other ones"):
        Metadata(database)


def test_noise_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "noise.sqlite").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError, match=r"noise\.sqlite"):
        Metadata(tmp_path / "noise.sqlite")


def test_a_full_disk_is_told_and_what_was_kept_stays(tmp_path: Path) -> None:
    metadata = Metadata(tmp_path / "library.sqlite")
    kept = metadata.create_store("kept", {})
    with metadata.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")  # SQLite's own "disk is full"
    with pytest.raises(StorageFull, match="full disk") as caught:
        create_many(metadata)
    assert "已满" in caught.value.zh
    assert metadata.store("kept") == kept
    with metadata.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    assert metadata.create_store("there is room again", {})
    metadata.close()


def create_many(metadata: Metadata) -> None:
    for number in range(100):
        metadata.create_store(f"{number}", {"text": "x" * 500})


def test_another_program_that_locks_the_file_is_waited_for_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chiasm.stores.database.BUSY_MILLISECONDS", 50)
    metadata = Metadata(tmp_path / "library.sqlite")
    other = sqlite3.connect(tmp_path / "library.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as caught:
        metadata.create_store("mine", {})
    assert caught.value.code == "database_locked"
    assert caught.value.retry_after
    other.execute("ROLLBACK")
    other.close()
    assert metadata.create_store("mine", {})
    metadata.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "library", "postgresql", "s3://bucket"])
def test_only_postgresql_can_be_named(url: str) -> None:
    with pytest.raises(SettingsError, match="postgresql://"):
        url_of(url)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in place_of(url_of("postgresql://me:secret@db.example/library"))


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(StoreError) as caught:
        Metadata("postgresql://me:secret@127.0.0.1:9/library?connect_timeout=2")
    assert caught.value.code == "database_unavailable"
    assert "secret" not in caught.value.en + caught.value.zh


def test_two_servers_on_one_database_are_refused(postgresql: PostgreSQL) -> None:
    url = postgresql.new_database()
    other = subprocess.Popen(
        [sys.executable, "-c", OPEN, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    with pytest.raises(StoreError, match=f"process {other.pid} on ") as caught:
        Metadata(url)
    assert caught.value.code == "database_in_use"
    with closing(Database(url, own=False)) as reading, reading.read() as connection:  # as a backup does
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    other.kill()
    other.communicate()
    eventually(lambda: opens(url))


def opens(url: str) -> bool:
    try:
        Metadata(url).close()
    except StoreError:
        return False
    return True


def test_a_database_server_that_was_restarted_is_found_again(postgresql: PostgreSQL) -> None:
    metadata = Metadata(postgresql.new_database())
    before = metadata.create_store("before", {})
    postgresql.restart()
    assert metadata.store("before") == before
    assert metadata.create_store("after", {})
    metadata.close()


def test_while_the_database_server_is_away_the_error_says_so(postgresql: PostgreSQL) -> None:
    metadata = Metadata(postgresql.new_database())
    postgresql.stop()
    try:
        with pytest.raises(StoreError) as caught:
            metadata.create_store("mine", {})
        assert caught.value.code == "database_unavailable"
        assert caught.value.retry_after
    finally:
        postgresql.start()
    assert metadata.create_store("mine", {})
    metadata.close()


def test_who_lost_the_lock_to_another_cannot_write_any_more(postgresql: PostgreSQL) -> None:
    url = postgresql.new_database()
    former = Metadata(url)
    former.create_store("before", {})
    postgresql.restart()  # the lock goes with the connection
    present = Metadata(url)
    with pytest.raises(StoreError, match="another owner"):
        former.create_store("too late", {})
    assert present.create_store("mine", {})
    assert [store.name for store in present.list_stores().data] == ["mine", "before"]
    former.close()
    present.close()


def test_after_a_restart_of_the_database_the_lock_is_taken_again(postgresql: PostgreSQL) -> None:
    url = postgresql.new_database()
    metadata = Metadata(url)
    postgresql.restart()
    metadata.create_store("after", {})
    with pytest.raises(StoreError) as caught:
        Metadata(url)
    assert caught.value.code == "database_in_use"
    assert metadata.create_store("still ours", {})
    metadata.close()
    Metadata(url).close()


def test_a_value_that_a_database_cannot_keep_is_the_callers_mistake(postgresql: PostgreSQL) -> None:
    metadata = Metadata(postgresql.new_database())
    with pytest.raises(InvalidInput):
        metadata.create_store("a\0b", {})
    metadata.close()
