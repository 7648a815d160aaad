"""Backups: taken while the library changes, added to, put back into either kind of database."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from library_fakes import FakeEmbedder, cutter, settings_for, vector_of

from chiasm.errors import ChiasmError, Conflict, NotFound, StorageFull, StoreError
from chiasm.library import Library, backup
from chiasm.library.backup import BackupReport, back_up, read_manifest
from chiasm.library.restore import restore
from chiasm.settings import Settings
from postgresql_server import PostgreSQL
from s3_server import S3


def nothing(_done: int, _total: int) -> None:
    return


@pytest.fixture
def settings(tmp_path: Path, database: Path | str) -> Settings:
    """Of a library in each kind of database."""
    return settings_for(tmp_path / "data", database_url="" if isinstance(database, Path) else database)


def filled(settings: Settings, count: int = 3) -> None:
    with Library(settings, FakeEmbedder(), cutter) as library:
        library.ensure_store("mine")
        for number in range(count):
            library.add_file("mine", f"text number {number}".encode(), f"{number}.txt", {"n": number})


def names(settings: Settings) -> list[str]:
    with Library(settings, FakeEmbedder(), cutter) as library:
        found = library.list_files("mine", limit=1000, order="asc").data
        for entry in found:
            if entry.file.mode == "copy":
                assert library.path_of(entry.file.id).is_file()
        return [entry.file.name for entry in found]


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def run(settings: Settings, destination: Path) -> BackupReport:
    return back_up(settings, destination, nothing, clock=lambda: 1234.0)


def test_a_library_comes_back_as_it_was(settings: Settings, tmp_path: Path) -> None:
    filled(settings)
    (tmp_path / "note.txt").write_text("a note elsewhere")
    with Library(settings, FakeEmbedder(), cutter) as library:
        library.add_file("mine", tmp_path / "note.txt", mode="reference")
    report = run(settings, tmp_path / "backup")
    assert report.manifest is not None
    assert (report.manifest.files, report.manifest.references) == (3, 1)
    assert report.manifest.created_at == 1234
    told: list[tuple[int, int]] = []
    target = settings_for(tmp_path / "new")
    back = restore(tmp_path / "backup", target, lambda *steps: told.append(steps))
    assert (back.files, back.references, back.damaged) == (3, 1, 0)
    assert told[-1] == (3, 3)
    assert names(target) == names(settings)
    with Library(target, FakeEmbedder(), cutter) as library:
        hit = library.search("mine", vector_of("text number 2"), "text")[0]
        assert (hit.name, hit.attributes) == ("2.txt", {"n": 2})
        library.add_file("mine", b"one more", "more.txt")


def test_a_backup_of_one_kind_becomes_a_library_of_the_other(
    settings: Settings, postgresql: PostgreSQL, tmp_path: Path
) -> None:
    filled(settings)
    run(settings, tmp_path / "backup")
    target = settings_for(tmp_path / "new", database_url=postgresql.new_database())
    restore(tmp_path / "backup", target, nothing)
    assert names(target) == ["0.txt", "1.txt", "2.txt"]


def test_only_what_is_new_is_copied_and_what_is_gone_goes(settings: Settings, tmp_path: Path) -> None:
    filled(settings, 3)
    first = run(settings, tmp_path / "backup")
    assert (first.copied + first.linked, first.kept) == (3, 0)
    with Library(settings, FakeEmbedder(), cutter) as library:
        library.remove_file("mine", library.list_files("mine", order="asc").data[0].file.id)
        library.add_file("mine", b"a new text", "new.txt")
        library.add_file("mine", b"text number 1", "again.txt")
    second = run(settings, tmp_path / "backup")
    assert (second.copied + second.linked, second.kept, second.removed) == (1, 2, 1)
    third = run(settings, tmp_path / "backup")
    assert (third.copied, third.linked, third.kept, third.removed) == (0, 0, 3, 0)
    assert len(list((tmp_path / "backup").glob("tables-*"))) == 1


def test_files_on_another_disk_are_copied_and_checked(
    settings: Settings, tmp_path: Path, monkeypatch
) -> None:
    filled(settings)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(18, "another device")))
    report = run(settings, tmp_path / "backup")
    assert (report.copied, report.linked) == (3, 0)


def test_while_others_write_a_backup_is_of_one_moment(settings: Settings, tmp_path: Path) -> None:
    filled(settings, 1)
    stop = threading.Event()

    def change() -> None:
        with Library(settings, FakeEmbedder(), cutter) as library:
            number = 100
            while not stop.is_set():
                entry = library.add_file("mine", f"text number {number}".encode(), f"{number}.txt")
                library.remove_file("mine", entry.file.id)
                library.add_file("mine", f"kept {number}".encode(), f"kept-{number}.txt")
                number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(3):
            manifest = run(settings, tmp_path / "backup").manifest
            assert manifest is not None
            assert manifest.damaged == ()
    finally:
        stop.set()
        thread.join()
    restore(tmp_path / "backup", settings_for(tmp_path / "new"), nothing)
    kept = [name for name in names(settings_for(tmp_path / "new")) if name.startswith("kept-")]
    assert kept == [f"kept-{number}.txt" for number in range(100, 100 + len(kept))]


def test_a_file_that_goes_at_the_moment_of_its_copying_is_lost_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path / "data")
    filled(settings)
    monkeypatch.setattr(backup, "_linked", lambda path, *_: path.unlink())
    manifest = run(settings, tmp_path / "backup").manifest
    assert manifest is not None
    assert len(manifest.damaged) == 3


def test_what_the_library_has_lost_is_told_and_the_rest_is_saved(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    filled(settings)
    lost, changed, _ = sorted((tmp_path / "data" / "files").glob("??/*"))
    lost.unlink()
    changed.write_bytes(b"other bytes")
    manifest = run(settings, tmp_path / "backup").manifest
    assert manifest is not None
    assert manifest.damaged == tuple(p.parent.name + p.name for p in (lost, changed))
    back = restore(tmp_path / "backup", settings_for(tmp_path / "new"), nothing)
    assert (back.files, back.damaged) == (1, 2)


def interrupted(_done: int, _total: int) -> None:
    raise KeyboardInterrupt


def test_what_is_interrupted_leaves_the_former_backup_whole(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    filled(settings, 2)
    run(settings, tmp_path / "backup")
    before = read_manifest(tmp_path / "backup")
    filled(settings, 4)
    with pytest.raises(KeyboardInterrupt):
        back_up(settings, tmp_path / "backup", interrupted)
    assert read_manifest(tmp_path / "backup") == before
    restore(tmp_path / "backup", settings_for(tmp_path / "new"), nothing)
    assert len(names(settings_for(tmp_path / "new"))) == 2
    assert run(settings, tmp_path / "backup").manifest != before
    assert len(list((tmp_path / "backup").glob("tables-*"))) == 1


def test_a_restore_that_is_interrupted_leaves_nothing(
    settings: Settings, postgresql: PostgreSQL, tmp_path: Path
) -> None:
    filled(settings)
    run(settings, tmp_path / "backup")
    (tmp_path / "elsewhere").mkdir()
    for target in (
        settings_for(tmp_path / "elsewhere" / "new"),
        settings_for(tmp_path / "elsewhere" / "new", database_url=postgresql.new_database()),
    ):
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path / "backup", target, interrupted)
        assert list((tmp_path / "elsewhere").iterdir()) == []
        restore(tmp_path / "backup", target, nothing)
        assert len(names(target)) == 3
        shutil.rmtree(tmp_path / "elsewhere" / "new")


def test_nothing_is_overwritten(settings: Settings, postgresql: PostgreSQL, tmp_path: Path) -> None:
    filled(settings)
    run(settings, tmp_path / "backup")
    full = settings_for(tmp_path / "full")
    filled(full, 1)
    with pytest.raises(Conflict, match="nothing is overwritten"):
        restore(tmp_path / "backup", full, nothing)
    assert names(full) == ["0.txt"]
    with pytest.raises(Conflict, match="something else"):
        run(settings, full.library.data_dir)
    in_use = settings_for(tmp_path / "other", database_url=postgresql.new_database())
    filled(in_use, 1)
    target = settings_for(tmp_path / "new", database_url=in_use.library.database_url)
    with pytest.raises(StoreError, match="empty database"):
        restore(tmp_path / "backup", target, nothing)
    assert not (tmp_path / "new").exists()


def test_a_backup_of_another_library_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    filled(settings_for(tmp_path / "other"))
    filled(settings)
    run(settings_for(tmp_path / "other"), tmp_path / "backup")
    before = read_manifest(tmp_path / "backup")
    with pytest.raises(Conflict) as caught:
        run(settings, tmp_path / "backup")
    assert caught.value.code == "backup_of_another"
    assert read_manifest(tmp_path / "backup") == before
    restore(tmp_path / "backup", settings_for(tmp_path / "new"), nothing)


def test_two_backups_do_not_write_into_one_folder(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    filled(settings)

    def second(_done: int, _total: int) -> None:
        run(settings, tmp_path / "backup")

    with pytest.raises(Conflict, match="another backup"):
        back_up(settings, tmp_path / "backup", second)


def change_table(backup: Path) -> None:
    path = next(backup.glob("tables-*"))
    path.write_bytes(path.read_bytes().replace(b"0.txt", b"9.txt"))


def lose_table(backup: Path) -> None:
    next(backup.glob("tables-*")).unlink()


def change_file(backup: Path) -> None:
    path = next(backup.glob("files/??/*"))
    path.unlink()  # it may be a link to the library's own
    path.write_bytes(b"other bytes")


def lose_file(backup: Path) -> None:
    next(backup.glob("files/??/*")).unlink()


def point_elsewhere(backup: Path) -> None:
    manifest = json.loads((backup / "manifest.json").read_text())
    (backup / "manifest.json").write_text(json.dumps({**manifest, "tables": "../secret"}))


def from_the_future(backup: Path) -> None:
    manifest = json.loads((backup / "manifest.json").read_text())
    (backup / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))


def lose_manifest(backup: Path) -> None:
    (backup / "manifest.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [change_table, lose_table, change_file, lose_file, point_elsewhere, from_the_future, lose_manifest],
)
def test_a_damaged_backup_is_refused_and_leaves_nothing(damage: Callable, tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    filled(settings)
    run(settings, tmp_path / "backup")
    damage(tmp_path / "backup")
    with pytest.raises((StoreError, NotFound)) as caught:
        restore(tmp_path / "backup", settings_for(tmp_path / "new"), nothing)
    assert caught.value.code in {"damaged_backup", "not_found"}
    assert not (tmp_path / "new").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "backup"}


def test_there_must_be_a_library_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no library"):
        run(settings_for(tmp_path / "nowhere"), tmp_path / "backup")
    assert not (tmp_path / "nowhere").exists()


def test_files_in_s3_go_into_the_backup_and_come_back_there(s3: S3, tmp_path: Path) -> None:
    def of(bucket: str, folder: str) -> Settings:
        return settings_for(
            tmp_path / folder, files_url=f"s3://{bucket}", files_endpoint=s3.endpoint, files_cache_bytes=1000
        )

    source, target = of(s3.new_bucket(), "data"), of(s3.new_bucket(), "new")
    filled(source)
    shutil.rmtree(tmp_path / "data" / "cache")
    report = run(source, tmp_path / "backup")
    assert report.manifest is not None
    assert report.manifest.files == len(list((tmp_path / "backup").glob("files/??/*"))) == 3
    assert not (tmp_path / "backup" / "fetched").exists()
    restore(tmp_path / "backup", target, nothing)
    assert len(s3.keys(target.library.files_url.removeprefix("s3://"))) == 3
    assert names(target) == ["0.txt", "1.txt", "2.txt"]


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 200 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_room_is_told_and_the_former_backup_stays(small_disk: Path, tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    filled(settings, 2)
    run(settings, small_disk / "backup")
    before = read_manifest(small_disk / "backup")
    with Library(settings, FakeEmbedder(), cutter) as library:
        library.upload_file(os.urandom(300_000), "large.bin")
    with pytest.raises(StorageFull):
        run(settings, small_disk / "backup")
    assert read_manifest(small_disk / "backup") == before
    restore(small_disk / "backup", settings_for(tmp_path / "new"), nothing)
    run(settings, tmp_path / "backup")
    with pytest.raises(ChiasmError) as caught:
        restore(tmp_path / "backup", settings_for(small_disk / "new"), nothing)
    assert isinstance(caught.value, StorageFull)
    assert {path.name for path in small_disk.iterdir()} == {"backup"}
