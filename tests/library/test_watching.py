"""A watched folder: every change leads to a look, once it is over."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chiasm.library import Library
from chiasm.library.watching import Pace, keep_in_step

PATIENCE = 30
PACE = Pace(quiet=0.1, again=0.1)


class Followed:
    """A library that is kept in step; ``works``: whether looks succeed."""

    def __init__(self, library: Library, folder: Path) -> None:
        self.library, self.folder = library, folder
        self.looks = 0
        self.works = True

    def bring(self) -> bool:
        self.looks += 1
        if self.works and self.folder.is_dir():
            self.library.index_folder("mine", self.folder)
        return self.works

    def names(self) -> set[str]:
        return {
            entry.file.name for entry in self.library.list_files("mine").data if entry.status == "completed"
        }

    def wait_for(self, *names: str) -> None:
        end = time.monotonic() + PATIENCE
        while self.names() != set(names):
            assert time.monotonic() < end, self.names()
            time.sleep(0.02)


@pytest.fixture
def followed(library: Library, folder: Path) -> Followed:
    library.create_store("mine")
    return Followed(library, folder)


@contextmanager
def watched(followed: Followed, **options: object) -> Iterator[None]:
    stopping = threading.Event()
    arguments = (followed.folder, followed.bring, stopping)
    thread = threading.Thread(target=keep_in_step, args=arguments, kwargs={"pace": PACE, **options})
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_what_is_added_renamed_and_deleted_is_followed(followed: Followed, folder: Path) -> None:
    with watched(followed):
        followed.wait_for("apple.txt", "boat.txt", "sky.png")
        (folder / "new").mkdir()
        (folder / "new" / "train.txt").write_text("a train at night")
        followed.wait_for("apple.txt", "boat.txt", "sky.png", "new/train.txt")
        known = followed.library.list_files("mine").data
        (folder / "apple.txt").rename(folder / "pear.txt")
        followed.wait_for("pear.txt", "boat.txt", "sky.png", "new/train.txt")
        assert {entry.file.id for entry in followed.library.list_files("mine").data} == {
            e.file.id for e in known
        }
        (folder / "sky.png").unlink()
        shutil.rmtree(folder / "new")
        followed.wait_for("pear.txt", "boat.txt")


def test_a_file_that_is_being_written_is_read_whole(followed: Followed, folder: Path) -> None:
    with watched(followed, pace=Pace(quiet=0.5, again=0.1)):
        followed.wait_for("apple.txt", "boat.txt", "sky.png")
        before = followed.looks
        with (folder / "slow.txt").open("w") as file:
            for word in ("one", "two", "three", "four"):
                file.write(word + " ")
                file.flush()
                time.sleep(0.1)
        followed.wait_for("apple.txt", "boat.txt", "sky.png", "slow.txt")
        assert followed.looks <= before + 2
    entry = next(e for e in followed.library.list_files("mine").data if e.file.name == "slow.txt")
    assert [s.snippet for s in followed.library.segments("mine", entry.file.id)] == ["one two three four"]


def test_what_happened_meanwhile_is_caught_up_with(followed: Followed, folder: Path) -> None:
    with watched(followed):
        followed.wait_for("apple.txt", "boat.txt", "sky.png")
    (folder / "boat.txt").unlink()
    (folder / "late.txt").write_text("later")
    with watched(followed):
        followed.wait_for("apple.txt", "late.txt", "sky.png")


def test_a_folder_that_is_away_is_waited_for_and_nothing_is_forgotten(
    followed: Followed, folder: Path
) -> None:
    away = folder.with_name("away")
    with watched(followed):
        followed.wait_for("apple.txt", "boat.txt", "sky.png")
        folder.rename(away)
        time.sleep(0.8)
        assert followed.names() == {"apple.txt", "boat.txt", "sky.png"}
        (away / "boat.txt").unlink()
        away.rename(folder)
        followed.wait_for("apple.txt", "sky.png")


def test_a_look_that_failed_is_repeated(followed: Followed) -> None:
    followed.works = False
    with watched(followed):
        end = time.monotonic() + PATIENCE
        while followed.looks < 3:
            assert time.monotonic() < end
            time.sleep(0.02)
        followed.works = True
        followed.wait_for("apple.txt", "boat.txt", "sky.png")


def test_what_does_not_count_leads_to_no_look(followed: Followed, folder: Path) -> None:
    (folder / "data").mkdir()
    with watched(followed, exclude=[folder / "data"]):
        followed.wait_for("apple.txt", "boat.txt", "sky.png")
        before = followed.looks
        (folder / ".hidden").write_text("x")
        (folder / "data" / "library.sqlite").write_text("x")
        (folder / "node_modules").mkdir()
        time.sleep(0.8)
        assert followed.looks == before
