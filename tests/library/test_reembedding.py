"""A store changes its model: beside what it is, all at once, and nothing is lost or mixed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from library_fakes import DIMENSIONS, FakeEmbedder, cutter, prepared, put_item, vector_of

from chiasm.errors import Conflict, NotFound
from chiasm.library import Library
from chiasm.library.makers import Maker
from chiasm.library.shared import SharedLock
from chiasm.modality import Item, Modality, Text
from chiasm.preprocess import ModelDescription, PreparedItem

WIDER = DIMENSIONS + 8


def wider(text: str) -> np.ndarray:
    vector = np.concatenate([np.zeros(8, np.float32), vector_of(text)])
    return vector / np.linalg.norm(vector)


@dataclass
class Wider(FakeEmbedder):
    """Another model, of other dimensions."""

    revision: str = "w1"

    @property
    def description(self) -> ModelDescription:
        return replace(super().description, name="wider", dimensions=WIDER)

    def embed_prepared(self, items: Sequence[PreparedItem], *, deadline: float | None = None) -> np.ndarray:
        vectors = super().embed_prepared(items)
        return np.concatenate([np.zeros((len(vectors), 8), np.float32), vectors], axis=1)


class Words:
    """Prepares texts."""

    def prepare(self, item: Item) -> PreparedItem:
        [text] = item.parts
        assert isinstance(text, Text)
        return prepared(text.text, Modality.TEXT)


@pytest.fixture
def wide() -> Wider:
    return Wider()


@pytest.fixture
def library(open_library: Callable[..., Library], wide: Wider) -> Library:
    return open_library(preprocessor=Words(), others=others(wide).get)


def others(wide: Wider) -> dict[str, Maker]:
    return {"wider": Maker(embedder=wide, cutter=cutter, preprocessor=Words())}


def names(library: Library, vector: np.ndarray, **wanted: object) -> list[str]:
    return [hit.name for hit in library.search("mine", vector, "text", **wanted)]


def fill(library: Library, folder: Path) -> None:
    library.create_store("mine")
    library.index_folder("mine", folder)
    library.add_file("mine", b"VIDEO:white boat|blue sky", "boat.mp4", {"year": 2024})
    library.add_file("mine", b"BAD", "broken.bin")
    put_item(library, "mine", vector_of("green tea"), item_id="one", snippet="green tea", name="tea")


def test_all_of_a_store_changes_its_model(library: Library, folder: Path, wide: Wider) -> None:
    fill(library, folder)
    before = library.get_store("mine")
    report = library.reembed("mine", "wider")
    after = library.get_store("mine")
    assert (report.changed, len(report.failed)) == (5, 1)
    assert (after.store.model, after.store.revision, after.store.dimensions) == ("wider", "w1", WIDER)
    assert (after.files, after.segments, after.bytes) == (before.files, before.segments, before.bytes)
    assert names(library, wider("white boat in the harbour"))[0] == "boat.txt"
    assert names(library, wider("green tea"))[0] == "tea"
    assert names(library, wider("white boat"), filters={"type": "eq", "key": "year", "value": 2024}) == [
        "boat.mp4"
    ]
    with pytest.raises(Conflict):
        library.search("mine", vector_of("boat"), "text", revision="r1")
    assert [info.store.name for info in library.list_stores().data] == ["mine"]
    assert len({held.store_id for held in library.census()}) == 1
    # from now on it is the model of whatever comes
    (folder / "new.txt").write_text("a yellow submarine")
    assert library.index_folder("mine", folder).added == 1
    assert names(library, wider("yellow submarine"))[0] == "new.txt"
    # and back again
    library.reembed("mine", None)
    assert library.get_store("mine").store.model is None
    assert names(library, vector_of("yellow submarine"))[0] == "new.txt"


def test_until_the_end_the_store_answers_as_before(library: Library, folder: Path) -> None:
    fill(library, folder)
    seen: list[list[str]] = []

    def look(_done: int, _total: int) -> None:
        seen.append(names(library, vector_of("red apple")))

    library.reembed("mine", "wider", look)
    assert len(seen) > 2
    assert all(found[0] == "apple.txt" for found in seen)


def test_what_happens_meanwhile_is_followed(library: Library, folder: Path) -> None:
    fill(library, folder)
    uploaded = library.upload_file(b"an upload about whales", "whales.txt")
    happened: list[bool] = []

    def meddle(done: int, _total: int) -> None:
        if not happened and done > 2:
            happened.append(True)
            library.attach_files("mine", [uploaded.id])
            library.add_files("mine", [uploaded.id])
            (folder / "apple.txt").write_text("a green pear in a bowl of glass")
            (folder / "sky.png").unlink()
            library.index_folder("mine", folder)
            put_item(
                library,
                "mine",
                vector_of("black coffee"),
                item_id="two",
                snippet="black coffee",
                name="coffee",
            )

    library.reembed("mine", "wider", meddle)
    assert happened
    assert names(library, wider("whales"))[0] == "whales.txt"
    assert names(library, wider("pear in a bowl of glass"))[0] == "apple.txt"
    assert names(library, wider("black coffee"))[0] == "coffee"
    every = names(library, wider("blue sky with clouds"), limit=50)
    assert "sky.png" not in every
    assert len(every) == len(set(every))


def test_a_stop_loses_nothing_and_the_next_run_goes_on(
    open_library: Callable[..., Library], folder: Path, wide: Wider
) -> None:
    library = open_library(preprocessor=Words(), others=others(wide).get)
    for number in range(150):
        (folder / f"{number:03}.txt").write_text(f"note number {number}")
    fill(library, folder)

    class Stop(Exception):
        pass

    def stop(done: int, _total: int) -> None:
        if done >= 60:
            raise Stop

    with pytest.raises(Stop):
        library.reembed("mine", "wider", stop)
    library = open_library(preprocessor=Words(), others=others(wide).get)
    assert names(library, vector_of("red apple"))[0] == "apple.txt"
    assert library.get_store("mine").store.revision == "r1"
    wide.seen.clear()
    library.reembed("mine", "wider")
    assert len(wide.seen) < 100
    assert names(library, wider("note number 77"))[0] == "077.txt"


def test_a_run_that_was_given_up_leaves_nothing(library: Library, folder: Path, tmp_path: Path) -> None:
    fill(library, folder)

    def stop(done: int, _total: int) -> None:
        if done >= 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        library.reembed("mine", "wider", stop)
    library.drop_shadows("mine")
    assert not library._metadata.shadows(library.get_store("mine").store.id)
    assert names(library, vector_of("red apple"))[0] == "apple.txt"
    with pytest.raises(InterruptedError):
        library.reembed("mine", "wider", stop)
    library.delete_store("mine")
    assert library.list_stores().data == ()
    assert not any((tmp_path / "data" / "indexes").iterdir())


def test_vectors_without_contents_cannot_be_made_again(library: Library, folder: Path) -> None:
    fill(library, folder)
    put_item(library, "mine", vector_of("secret"), item_id="bare")
    with pytest.raises(Conflict, match="'bare' has nothing but a vector"):
        library.reembed("mine", "wider")
    assert names(library, vector_of("red apple"))[0] == "apple.txt"
    assert library.get_store("mine").store.revision == "r1"


def test_stores_without_vectors_and_names_without_models(library: Library, folder: Path) -> None:
    library.create_store("mine")
    library.reembed("mine", "wider")
    library.index_folder("mine", folder)
    assert names(library, wider("red apple"))[0] == "apple.txt"
    with pytest.raises(NotFound, match="there is no model 'nobody'"):
        library.reembed("mine", "nobody")
    with pytest.raises(NotFound):
        library.reembed("yours", "wider")
    created = library.create_store("chosen", model="wider")
    assert created.store.model == "wider"
    library.add_file("chosen", b"white boat", "boat.txt")
    assert library.get_store("chosen").store.revision == "w1"


def test_alone_waits_for_all_and_shared_for_it() -> None:
    lock = SharedLock()
    looks = 0

    def give_up() -> None:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise InterruptedError

    with lock.shared(), lock.shared():
        with pytest.raises(InterruptedError), lock.alone(give_up):
            pass
        with lock.shared():
            pass
    with lock.alone():
        looks = 0
        with pytest.raises(InterruptedError), lock.shared(give_up):
            pass
    with lock.shared():
        pass
