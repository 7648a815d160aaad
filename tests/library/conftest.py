import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from library_fakes import FakeEmbedder, cutter, settings_for

from chiasm.library import Library


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def open_library(
    tmp_path: Path, embedder: FakeEmbedder, database: Path | str
) -> Iterator[Callable[..., Library]]:
    """Opens the library of this test, over each kind of database; call it again for a restart."""
    opened: list[Library] = []
    settings = settings_for(tmp_path / "data", database_url="" if isinstance(database, Path) else database)

    def open_now(**options: object) -> Library:
        for earlier in opened:
            earlier.close()
        opened[:] = [Library(settings, embedder, cutter, **options)]
        return opened[0]

    yield open_now
    for library in opened:
        library.close()


@pytest.fixture
def library(open_library: Callable[..., Library]) -> Library:
    return open_library()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files about different things."""
    root = tmp_path / "media"
    root.mkdir()
    (root / "apple.txt").write_text("red apple on a table")
    (root / "boat.txt").write_text("white boat in the harbour")
    (root / "sky.png").write_text("IMAGE:blue sky with clouds")
    return root
