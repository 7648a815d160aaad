import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from chiasm.errors import InvalidInput, NotFound, StoreError, TooLarge
from chiasm.stores import Files, FileStore
from chiasm.stores.files import hash_file
from chiasm.stores.s3 import S3FileStore


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """Both kinds; what the one in S3 has at hand lies where the other keeps its files."""
    if request.param == "folder":
        return FileStore(tmp_path / "files", max_bytes=1000)
    server = request.getfixturevalue("s3")
    return S3FileStore(
        f"s3://{server.new_bucket()}/some/prefix",
        endpoint=server.endpoint,
        cache=tmp_path / "files",
        cache_bytes=10_000,
        max_bytes=1000,
    )


def stored_files(store_root: Path) -> list[Path]:
    return [path for path in store_root.rglob("*") if path.is_file()]


def test_bytes_paths_streams_and_pieces_come_to_the_same(store: Files, tmp_path: Path) -> None:
    data = b"some content"
    path = tmp_path / "x"
    path.write_bytes(data)
    found = {store.put(source) for source in (data, path, io.BytesIO(data), iter([b"some ", b"content"]))}
    assert {(s.sha256, s.size) for s in found} == {(hashlib.sha256(data).hexdigest(), 12)}
    assert store.existing(next(iter(found)).sha256).read_bytes() == data
    assert len(stored_files(tmp_path / "files")) == 1


def test_a_file_that_is_too_large_leaves_nothing_behind(store: Files, tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 100

    with pytest.raises(TooLarge):
        store.put(endless())
    assert stored_files(tmp_path / "files") == []


def test_a_source_that_breaks_leaves_nothing_behind(store: Files, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"abc"
        raise OSError(5, "Input/output error")

    with pytest.raises(StoreError):
        store.put(broken())
    assert stored_files(tmp_path / "files") == []


def test_what_is_removed_is_gone_and_a_second_time_does_not_matter(store: Files) -> None:
    digest = store.put(b"abc").sha256
    assert store.has(digest)
    store.remove(digest)
    assert not store.has(digest)
    store.remove(digest)
    with pytest.raises(NotFound):
        store.existing(digest)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63 + "/"])
def test_a_name_that_is_no_hash_is_refused(store: Files, name: str) -> None:
    with pytest.raises(InvalidInput):
        store.existing(name)


def test_what_a_crash_left_half_written_is_cleared(tmp_path: Path) -> None:
    FileStore(tmp_path, max_bytes=10)
    (tmp_path / "incoming" / "tmpabc").write_bytes(b"half")
    FileStore(tmp_path, max_bytes=10)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_file_elsewhere_is_hashed_within_the_same_bound(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert hash_file(tmp_path / "x", max_bytes=3).sha256 == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(TooLarge):
        hash_file(tmp_path / "x", max_bytes=2)
