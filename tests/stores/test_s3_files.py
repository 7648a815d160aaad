"""What is peculiar to files in S3: they come back when asked for, checked, and not all of them stay here."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chiasm.errors import NotFound, SettingsError, StorageFull, StoreError
from chiasm.stores import s3 as s3_module
from chiasm.stores.s3 import IN_USE_SECONDS, S3FileStore, bucket_of
from s3_server import S3


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.new_bucket()


@pytest.fixture
def opened(s3: S3, bucket: str, tmp_path: Path, clock: list[float]) -> Callable[..., S3FileStore]:
    """Opens the same bucket, with an empty cache of that name."""

    def open_now(cache: str = "cache", *, cache_bytes: int = 1000) -> S3FileStore:
        return S3FileStore(
            f"s3://{bucket}/media",
            endpoint=s3.endpoint,
            cache=tmp_path / cache,
            cache_bytes=cache_bytes,
            max_bytes=64 << 20,
            clock=lambda: clock[0],
        )

    return open_now


def test_what_is_kept_is_in_the_bucket_and_found_by_another_machine(
    opened: Callable[..., S3FileStore], s3: S3, bucket: str
) -> None:
    stored = opened().put(b"some content")
    assert s3.keys(bucket) == [f"media/{stored.sha256[:2]}/{stored.sha256[2:]}"]
    assert opened("elsewhere").existing(stored.sha256).read_bytes() == b"some content"
    opened("elsewhere").remove(stored.sha256)
    assert s3.keys(bucket) == []


def test_a_large_file_goes_up_in_parts_and_comes_back_whole(
    opened: Callable[..., S3FileStore], s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "PART_BYTES", 5 << 20)
    data = os.urandom(12 << 20)
    stored = opened(cache_bytes=64 << 20).put(data)
    (found,) = s3.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert found["ETag"].endswith('-3"')  # three parts
    assert opened("elsewhere", cache_bytes=64 << 20).existing(stored.sha256).read_bytes() == data


def test_only_so_much_stays_at_hand_and_what_was_used_last_stays_longest(
    opened: Callable[..., S3FileStore], tmp_path: Path, clock: list[float]
) -> None:
    store = opened(cache_bytes=1000)
    first, second, third = (store.put(bytes([n]) * 400).sha256 for n in range(3))
    assert at_hand(tmp_path) == {first, second, third}  # all in use
    clock[0] += IN_USE_SECONDS
    store.existing(first)
    assert at_hand(tmp_path) == {first, third}
    assert store.existing(second).read_bytes() == bytes([1]) * 400
    clock[0] += IN_USE_SECONDS
    opened(cache_bytes=1000).existing(first)  # a new process knows what lies there
    assert len(at_hand(tmp_path)) == 2


def at_hand(folder: Path) -> set[str]:
    return {path.parent.name + path.name for path in (folder / "cache").glob("??/*")}


def test_many_who_want_one_file_get_it(opened: Callable[..., S3FileStore]) -> None:
    digest = opened().put(b"wanted by all").sha256
    store = opened("elsewhere")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.existing(digest).read_bytes(), range(16)))
    assert set(found) == {b"wanted by all"}


def test_content_that_has_changed_is_not_given_out(
    opened: Callable[..., S3FileStore], s3: S3, bucket: str, tmp_path: Path
) -> None:
    digest = opened().put(b"some content").sha256
    s3.client().put_object(Bucket=bucket, Key=s3.keys(bucket)[0], Body=b"other content")
    store = opened("elsewhere")
    with pytest.raises(StoreError, match="damaged") as caught:
        store.existing(digest)
    assert caught.value.code == "damaged_file"
    assert not list((tmp_path / "elsewhere").glob("??/*"))


def test_content_that_has_gone_is_not_found(opened: Callable[..., S3FileStore], s3: S3, bucket: str) -> None:
    digest = opened().put(b"some content").sha256
    s3.client().delete_object(Bucket=bucket, Key=s3.keys(bucket)[0])
    with pytest.raises(NotFound):
        opened("elsewhere").existing(digest)


def test_a_bucket_that_there_is_not_is_told_at_the_start(s3: S3, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="s3://no-such-bucket/") as caught:
        S3FileStore("s3://no-such-bucket", endpoint=s3.endpoint, cache=tmp_path, cache_bytes=1, max_bytes=1)
    assert caught.value.code == "files_unavailable"


def test_a_server_that_does_not_answer_is_told(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "ATTEMPTS", 1)
    with pytest.raises(StoreError, match=r"http://127\.0\.0\.1:9"):
        S3FileStore("s3://b", endpoint="http://127.0.0.1:9", cache=tmp_path, cache_bytes=1, max_bytes=1)


def test_an_endpoint_that_is_no_address(s3: S3, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="files_endpoint"):
        S3FileStore("s3://b", endpoint="not an address", cache=tmp_path, cache_bytes=1, max_bytes=1)


def test_a_full_disk_is_told(opened: Callable[..., S3FileStore], monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()

    def refuse(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chiasm.stores.files.os.fsync", refuse)
    with pytest.raises(StorageFull):
        store.put(b"some content")


@pytest.mark.parametrize(
    ("url", "found"),
    [("s3://b", ("b", "")), ("s3://b/", ("b", "")), ("s3://b/x/y/", ("b", "x/y/"))],
)
def test_bucket_and_prefix(url: str, found: tuple[str, str]) -> None:
    assert bucket_of(url) == found


@pytest.mark.parametrize("url", ["b", "http://b/x", "s3:///x", "s3://key:secret@b/x", "s3://b/x?y=1"])
def test_what_is_no_bucket(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        bucket_of(url)
    assert "secret" not in caught.value.en
