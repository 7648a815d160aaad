import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from library_fakes import FakeEmbedder, prepared, put_item, vector_of

from chiasm.errors import InvalidInput, NotFound, TooLarge
from chiasm.library import Library
from chiasm.library.indexing import Cut, Piece
from chiasm.stores import UsearchIndex


@pytest.fixture
def mine(library: Library) -> Library:
    library.create_store("mine")
    return library


def blobs(tmp_path: Path) -> int:
    return sum(path.is_file() for path in (tmp_path / "data" / "files").rglob("*"))


def test_an_uploaded_file_is_indexed_later_and_outlives_the_store(mine: Library, tmp_path: Path) -> None:
    uploaded = mine.upload_file(b"red apple on a table", "apple.txt", purpose="assistants")
    (waiting,) = mine.attach_files("mine", [uploaded.id], attributes={"year": 2024})
    assert (waiting.status, mine.get_store("mine").files) == ("in_progress", {"in_progress": 1})
    told: list[tuple[int, int]] = []
    (entry,) = mine.add_files("mine", [uploaded.id], lambda done, total: told.append((done, total)))
    assert (entry.status, entry.attributes, entry.file.modality) == ("completed", {"year": 2024}, "text")
    assert told == [(0, 1), (1, 1)]
    mine.delete_store("mine")
    assert mine.path_of(uploaded.id).read_bytes() == b"red apple on a table"
    assert [file.id for file in mine.uploaded_files(purpose="assistants").data] == [uploaded.id]
    mine.delete_file(uploaded.id)
    assert blobs(tmp_path) == 0
    with pytest.raises(NotFound):
        mine.get_file(uploaded.id)


def test_files_that_were_indexed_already_are_left_alone(mine: Library, embedder: FakeEmbedder) -> None:
    ids = [mine.upload_file(f"number {n}".encode(), f"{n}.txt").id for n in range(5)]
    mine.add_files("mine", ids[:3])
    assert len(embedder.seen) == 3
    assert {entry.status for entry in mine.add_files("mine", ids)} == {"completed"}
    assert len(embedder.seen) == 5


def test_files_that_wait_beside_are_indexed_on_the_way_but_only_with_something_to_do(mine: Library) -> None:
    ids = [mine.upload_file(f"number {n}".encode(), f"{n}.txt").id for n in range(4)]
    mine.attach_files("mine", ids)
    told: list[tuple[int, int]] = []
    mine.add_files(
        "mine",
        ids[:1],
        lambda done, total: told.append((done, total)),
        neighbours=lambda: [*ids[1:3], "file-x"],
    )
    assert mine.get_store("mine").files == {"completed": 3, "in_progress": 1}
    assert set(told) == {(0, 1), (1, 1)}
    asked: list[int] = []
    mine.add_files("mine", ids[1:3], neighbours=lambda: asked.append(1) or ids)
    assert asked == []
    assert mine.get_store("mine").files == {"completed": 3, "in_progress": 1}


def test_indexing_can_be_stopped_while_slow_files_trickle_in(
    open_library: Callable[..., Library], folder: Path
) -> None:
    """Nothing is finished here for a long time, so that only the look at the clock can stop it."""

    class Stop(Exception):
        pass

    library = open_library()
    slow = lambda path: Cut(  # noqa: E731
        modality="text",
        mime="text/plain",
        pieces=(
            Piece(modality="text", item=prepared(f"{n}")) for n in range(1000) if time.sleep(0.1) is None
        ),
    )
    library._makers._first = replace(library._makers._first, cutter=slow)
    library.create_store("mine")
    started = time.monotonic()

    def progress(done: int, total: int) -> None:
        if time.monotonic() > started + 0.5:
            raise Stop

    with pytest.raises(Stop):
        library.index_folder("mine", folder, progress)
    assert time.monotonic() - started < 3


def test_equal_content_lies_there_once_until_its_last_user_goes(mine: Library, tmp_path: Path) -> None:
    first = mine.add_file("mine", b"same words", "one.txt")
    second = mine.add_file("mine", b"same words", "two.txt")
    assert blobs(tmp_path) == 1
    mine.remove_file("mine", first.file.id)
    assert blobs(tmp_path) == 1
    mine.remove_file("mine", second.file.id)
    assert blobs(tmp_path) == 0


def test_one_file_in_two_stores_leaves_each_by_itself(mine: Library) -> None:
    mine.create_store("yours")
    uploaded = mine.upload_file(b"red apple", "apple.txt")
    for store in ("mine", "yours"):
        mine.add_files(store, [uploaded.id])
    mine.remove_file("mine", uploaded.id)
    assert mine.search("mine", vector_of("apple"), "text") == []
    assert [hit.name for hit in mine.search("yours", vector_of("apple"), "text")] == ["apple.txt"]
    mine.delete_file(uploaded.id)
    assert mine.search("yours", vector_of("apple"), "text") == []


def test_a_file_that_is_bad_is_an_entry_that_says_why(mine: Library) -> None:
    entry = mine.add_file("mine", b"BAD", "broken.png")
    assert entry.status == "failed"
    assert entry.problem is not None
    assert (entry.problem.code, entry.problem.zh) == ("unsupported_media", "应为媒体文件，实际已损坏")
    assert mine.get_store("mine").files == {"failed": 1}


def test_a_referred_file_stays_where_it_is(mine: Library, folder: Path) -> None:
    entry = mine.add_file("mine", folder / "apple.txt", mode="reference")
    assert entry.file.path == str(folder / "apple.txt")
    mine.remove_file("mine", entry.file.id)
    assert (folder / "apple.txt").exists()
    with pytest.raises(InvalidInput):
        mine.add_file("mine", b"bytes", mode="reference")
    with pytest.raises(InvalidInput):
        mine.add_file("mine", folder / "nothing", mode="reference")


def test_segments_tell_what_can_be_found(mine: Library) -> None:
    entry = mine.add_file("mine", b"VIDEO:a dog|a cat", "pets.mp4")
    found = [(s.modality, s.start, s.end) for s in mine.segments("mine", entry.file.id)]
    assert found == [("video", 0.0, 6.0), ("video", 6.0, 12.0)]
    info = mine.get_store("mine")
    assert (info.segments, info.bytes) == ({"video": 2}, 17)


def test_items_bring_their_own_vectors_and_ids(open_library: Callable[..., Library]) -> None:
    library = open_library()
    library.create_store("mine")
    put_item(library, "mine", 5 * vector_of("apple"), item_id="a/1", modality="image", attributes={"n": 1})
    put_item(library, "mine", vector_of("boat"), item_id="b")
    (hit, _) = library.search("mine", vector_of("apple"), "text")
    assert (hit.item_id, hit.modality, hit.cosine) == ("a/1", "image", pytest.approx(1.0, abs=2e-3))
    replaced = put_item(library, "mine", vector_of("whale"), item_id="a/1", attributes={"n": 2})
    assert library.entry("mine", "a/1") == replaced
    assert [h.item_id for h in library.search("mine", vector_of("whale"), "text")] == ["a/1", "b"]
    assert [e.item_id for e in library.list_files("mine", items=True).data] == ["b", "a/1"]
    library.remove_file("mine", "a/1")
    assert [h.item_id for h in library.search("mine", vector_of("whale"), "text")] == ["b"]


@pytest.mark.parametrize("vector", [[0.0, 0.0], [float("nan"), 1.0], [[1.0, 0.0]], []])
def test_a_vector_that_points_nowhere_is_refused(library: Library, vector: list) -> None:
    library.create_store("mine")
    with pytest.raises(InvalidInput) as caught:
        put_item(library, "mine", vector)
    assert caught.value.param == "vector"


@pytest.mark.parametrize(
    "attributes",
    [
        {"a": None},
        {"a": [1]},
        {"a": float("inf")},
        {"a": "x" * 513},
        {"": 1},
        {"a" * 65: 1},
        {'a"b': 1},
        {str(n): n for n in range(17)},
    ],
)
def test_attributes_that_are_none_are_refused(library: Library, attributes: dict) -> None:
    library.create_store("mine")
    with pytest.raises(InvalidInput) as caught:
        put_item(library, "mine", vector_of("x"), attributes=attributes)
    assert (caught.value.param or "").startswith("attributes")


def test_stores_are_renamed_listed_and_deleted(mine: Library) -> None:
    other = mine.create_store("other", attributes={"k": "v"}).store
    assert mine.update_store("other", name="else", attributes={}).store.name == "else"
    assert [info.store.name for info in mine.list_stores().data] == ["else", "mine"]
    assert mine.ensure_store("else").store.id == other.id
    assert mine.delete_store("else") == other.id
    assert mine.find_store("else") is None


def test_an_upload_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    from library_fakes import settings_for

    from chiasm.settings import Limits

    settings = replace(settings_for(tmp_path / "data"), limits=Limits(file_bytes=10))
    with Library(settings) as library, pytest.raises(TooLarge):
        library.upload_file(b"x" * 11, "big.bin")


def grown(dimensions: int) -> UsearchIndex:
    return UsearchIndex(dimensions, exact_up_to=20)


@pytest.mark.parametrize("damage", ["none", "lost", "corrupt", "old"])
def test_indexes_are_rebuilt_from_the_database_when_they_must_be(
    open_library: Callable[..., Library], tmp_path: Path, damage: str
) -> None:
    library = open_library(index_factory=grown)
    store = library.create_store("mine").store
    rows = np.random.default_rng(1).standard_normal((40, 32)).astype(np.float32)
    for n in range(30):
        put_item(library, "mine", rows[n], item_id=str(n))
    library.save_indexes("mine")
    path = tmp_path / "data" / "indexes" / store.id / "text.index"
    old = path.read_bytes()
    for n in range(30, 40):
        put_item(library, "mine", rows[n], item_id=str(n))
    library.remove_file("mine", "7")
    library.close()
    if damage == "lost":
        path.unlink()
    elif damage == "corrupt":
        path.write_bytes(b"x" + path.read_bytes()[1:])
    elif damage == "old":
        path.write_bytes(old)  # as after a kill before the next save
    library = open_library(index_factory=grown)
    for n in (0, 20, 35):
        assert library.search("mine", rows[n], "text", limit=1)[0].item_id == str(n)
    assert library.search("mine", rows[7], "text", limit=1)[0].item_id != "7"
