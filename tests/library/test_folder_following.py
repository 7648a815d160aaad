import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from library_fakes import FakeEmbedder, cutter, settings_for, vector_of

from chiasm.errors import NotFound
from chiasm.library import IndexReport, Library
from chiasm.library.folder import plan, scan
from chiasm.library.indexing import Cut


@pytest.fixture
def mine(library: Library) -> Library:
    library.create_store("mine")
    return library


def counts(report: IndexReport) -> tuple[int, int, int, int, int]:
    """added, changed, moved, removed, unchanged"""
    return report.added, report.changed, report.moved, report.removed, report.unchanged


def listed(library: Library) -> list[str]:
    return sorted(entry.file.name for entry in library.list_files("mine", limit=100).data)


def test_the_first_time_all_is_added_and_the_second_time_nothing_is_done(
    mine: Library, folder: Path, embedder: FakeEmbedder
) -> None:
    assert counts(mine.index_folder("mine", folder)) == (3, 0, 0, 0, 0)
    seen = list(embedder.seen)
    assert counts(mine.index_folder("mine", folder)) == (0, 0, 0, 0, 3)
    assert embedder.seen == seen
    (entry,) = (e for e in mine.list_files("mine").data if e.file.name == "apple.txt")
    assert (entry.file.path, entry.file.mode) == (str(folder / "apple.txt"), "reference")
    assert mine.path_of(entry.file.id) == folder / "apple.txt"


def test_a_changed_file_is_found_by_what_it_says_now(mine: Library, folder: Path) -> None:
    mine.index_folder("mine", folder)
    before = mine.entry(
        "mine", next(e.file.id for e in mine.list_files("mine").data if "apple" in e.file.name)
    )
    (folder / "apple.txt").write_text("green pear in a bowl, quite another thing")
    assert counts(mine.index_folder("mine", folder)) == (0, 1, 0, 0, 2)
    hit = mine.search("mine", vector_of("green pear"), "text")[0]
    assert (hit.name, hit.file_id) == ("apple.txt", before.file.id)
    assert "apple" not in {span.snippet for span in hit.others}


def test_a_file_that_was_only_touched_is_not_embedded_again(
    mine: Library, folder: Path, embedder: FakeEmbedder
) -> None:
    mine.index_folder("mine", folder)
    seen = len(embedder.seen)
    os.utime(folder / "apple.txt", ns=(1, 1))
    assert counts(mine.index_folder("mine", folder)) == (0, 0, 0, 0, 3)
    assert len(embedder.seen) == seen


def test_a_moved_file_keeps_its_identity_attributes_and_vectors(
    mine: Library, folder: Path, embedder: FakeEmbedder
) -> None:
    mine.index_folder("mine", folder)
    before = next(e for e in mine.list_files("mine").data if e.file.name == "apple.txt")
    mine.set_attributes("mine", before.file.id, {"liked": True})
    seen = len(embedder.seen)
    (folder / "fruit").mkdir()
    (folder / "apple.txt").rename(folder / "fruit" / "red.txt")
    assert counts(mine.index_folder("mine", folder)) == (0, 0, 1, 0, 2)
    assert len(embedder.seen) == seen
    hit = mine.search("mine", vector_of("red apple"), "text")[0]
    assert (hit.file_id, hit.name, hit.attributes) == (before.file.id, "fruit/red.txt", {"liked": True})
    assert hit.path == str(folder / "fruit" / "red.txt")


def test_a_deleted_file_goes(mine: Library, folder: Path) -> None:
    mine.index_folder("mine", folder)
    (folder / "apple.txt").unlink()
    assert counts(mine.index_folder("mine", folder)) == (0, 0, 0, 1, 2)
    assert listed(mine) == ["boat.txt", "sky.png"]
    assert "apple.txt" not in {hit.name for hit in mine.search("mine", vector_of("red apple"), "text")}


def test_the_same_content_twice_is_embedded_once_and_found_twice(
    mine: Library, folder: Path, embedder: FakeEmbedder
) -> None:
    mine.index_folder("mine", folder)
    seen = len(embedder.seen)
    (folder / "copy.txt").write_bytes((folder / "apple.txt").read_bytes())
    assert counts(mine.index_folder("mine", folder)) == (1, 0, 0, 0, 3)
    assert len(embedder.seen) == seen
    found = {hit.name for hit in mine.search("mine", vector_of("red apple"), "text", limit=2)}
    assert found == {"apple.txt", "copy.txt"}


def test_a_bad_file_is_reported_in_both_languages_and_not_tried_again_until_it_changes(
    mine: Library, folder: Path
) -> None:
    (folder / "broken.png").write_text("BAD bytes")
    (folder / "empty.txt").write_text("")
    report = mine.index_folder("mine", folder)
    assert counts(report) == (3, 0, 0, 0, 0)
    problems = {Path(problem.path).name: problem for problem in report.failed}
    assert set(problems) == {"broken.png", "empty.txt"}
    assert (problems["broken.png"].en, problems["broken.png"].zh) == (
        "expected media, got a broken file",
        "应为媒体文件，实际已损坏",
    )
    again = mine.index_folder("mine", folder)
    assert (counts(again), len(again.failed)) == ((0, 0, 0, 0, 3), 2)
    assert {e.file.name for e in mine.list_files("mine", status="failed").data} == {"broken.png", "empty.txt"}
    (folder / "broken.png").write_text("IMAGE:mended at last")
    assert counts(mine.index_folder("mine", folder)) == (0, 1, 0, 0, 3)


def test_a_file_that_breaks_the_cutter_does_not_stop_the_others(
    mine: Library, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "odd.txt").write_bytes(b"\xff\xfe not utf-8")  # the fake cutter fails with a UnicodeDecodeError
    report = mine.index_folder("mine", folder)
    assert report.added == 3
    assert [Path(p.path).name for p in report.failed] == ["odd.txt"]
    assert "odd.txt" in caplog.text


def test_hidden_files_version_control_links_and_pipes_are_left_out(
    mine: Library, folder: Path, tmp_path: Path
) -> None:
    (folder / ".hidden.txt").write_text("hidden words")
    (folder / ".git").mkdir()
    (folder / ".git" / "config.txt").write_text("version control")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (tmp_path / "secret.txt").write_text("elsewhere")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(folder / "pipe")
    assert counts(mine.index_folder("mine", folder)) == (3, 0, 0, 0, 0)
    assert listed(mine) == ["apple.txt", "boat.txt", "sky.png"]


def test_the_data_directory_is_left_out_of_a_folder_around_it(mine: Library, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("a note")
    mine.add_file("mine", b"something copied in", "x.txt")
    report = mine.index_folder("mine", tmp_path)
    assert (report.added, report.failed) == (1, ())


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_what_cannot_be_read_is_reported_and_not_taken_for_deleted(mine: Library, folder: Path) -> None:
    (folder / "closed").mkdir()
    (folder / "closed" / "inner.txt").write_text("locked away")
    mine.index_folder("mine", folder)
    (folder / "closed").chmod(0)
    try:
        report = mine.index_folder("mine", folder)
    finally:
        (folder / "closed").chmod(0o700)
    assert counts(report) == (0, 0, 0, 0, 3)
    assert [Path(p.path).name for p in report.failed] == ["closed"]
    assert "closed/inner.txt" in listed(mine)


def test_a_name_that_is_not_utf8_is_reported(mine: Library, folder: Path) -> None:
    with open(os.fsencode(folder) + b"/\xff.txt", "wb") as out:
        out.write(b"words")
    report = mine.index_folder("mine", folder)
    assert report.added == 3
    assert "UTF-8" in report.failed[0].en


def test_two_folders_in_one_store_do_not_disturb_each_other(
    mine: Library, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "cat.txt").write_text("a cat")
    mine.index_folder("mine", folder)
    assert counts(mine.index_folder("mine", other)) == (1, 0, 0, 0, 0)
    assert counts(mine.index_folder("mine", folder)) == (0, 0, 0, 0, 3)
    assert len(listed(mine)) == 4


def test_progress_is_told_and_may_stop_the_work_which_can_be_taken_up_again(
    mine: Library, folder: Path, embedder: FakeEmbedder
) -> None:
    for number in range(150):
        (folder / f"n{number}.txt").write_text(f"number {number}")
    told: list[tuple[int, int]] = []

    def stop_half_way(done: int, total: int) -> None:
        told.append((done, total))
        if done >= 50:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        mine.index_folder("mine", folder, stop_half_way)
    assert told[0] == (0, 153)
    stopped_at = told[-1][0]
    report = mine.index_folder("mine", folder)
    assert (report.unchanged, report.added) == (stopped_at, 153 - stopped_at)


def test_a_slow_file_does_not_hold_back_the_quick_ones(tmp_path: Path, embedder: FakeEmbedder) -> None:
    searchable = threading.Event()

    def slow_for_music(path: Path) -> Cut:
        if path.name == "zither.wav":
            assert searchable.wait(30)
        return cutter(path)

    for name in ("apple.txt", "boat.txt", "zither.wav"):
        (tmp_path / "media" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "media" / name).write_text(f"all about {name}")
    with closing(Library(settings_for(tmp_path / "data"), embedder, slow_for_music)) as library:
        library.create_store("mine")

        def look(done: int, _total: int) -> None:
            if done == 2:
                assert listed(library) == ["apple.txt", "boat.txt"]
                searchable.set()

        assert library.index_folder("mine", tmp_path / "media", look).added == 3


def test_files_are_taken_in_the_order_in_which_a_person_lists_them(tmp_path: Path) -> None:
    names = ["b.txt", "z.txt", "a/deep/x.txt", "c/y.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(Path(path).relative_to(tmp_path)) for path in scan(tmp_path).files] == names


def test_new_recordings_and_videos_come_last_for_they_take_long(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.jpg", "c.OGG", "d.txt"):
        (tmp_path / name).touch()
    new = plan(scan(tmp_path), [], max_bytes=1).new
    assert [Path(seen.path).name for seen in new] == ["b.jpg", "d.txt", "a.mp4", "c.OGG"]


@pytest.mark.parametrize("name", ["nowhere", "media/apple.txt"])
def test_something_that_is_no_folder_is_an_error_and_removes_nothing(
    mine: Library, folder: Path, tmp_path: Path, name: str
) -> None:
    mine.index_folder("mine", folder)
    with pytest.raises(NotFound, match="folder"):
        mine.index_folder("mine", tmp_path / name)
    assert len(listed(mine)) == 3


def test_after_a_restart_all_is_there(open_library: Callable[..., Library], folder: Path) -> None:
    library = open_library()
    library.create_store("mine")
    library.index_folder("mine", folder)
    library = open_library()
    assert library.search("mine", vector_of("white boat"), "text")[0].name == "boat.txt"
    assert counts(library.index_folder("mine", folder)) == (0, 0, 0, 0, 3)
