"""Files in an S3-compatible store, by their content, with a bounded number of bytes at hand on the disk."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chiasm.errors import NotFound, SettingsError, StoreError
from chiasm.stores.files import CHUNK, FileStore, StoredBytes
from chiasm.stores.trouble import unwritable

PART_BYTES = 16 << 20  # larger files go up in parts, several at once
IN_USE_SECONDS = 120.0  # that a file which was asked for stays: whoever asked is about to open it
RETRY_SECONDS = 2.0
ATTEMPTS = 4
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
ANY_REGION = "us-east-1"  # what servers other than AWS's take


class S3FileStore:
    """As :class:`~chiasm.stores.files.FileStore`, in ``s3://bucket/prefix``: ``prefix/ab/cdef…``.

    Credentials and region are those of the standard variables (``AWS_ACCESS_KEY_ID`` and so on), of profile
    files or of the instance's role, looked up once, here.

    Args:
        url: ``s3://bucket/prefix``.
        endpoint: address of a server other than AWS's; empty for AWS.
        cache: folder of the files at hand; made if missing, and may be deleted while nobody uses it.
        cache_bytes: bound on it, beyond which what was not used for longest goes (but nothing in use).
        max_bytes: bound on one file.
        clock: seconds, ascending.

    Raises:
        SettingsError: not such a URL or address.
        StoreError: the bucket is not there, or does not answer.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str,
        cache: Path,
        cache_bytes: int,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket, self._prefix = bucket_of(url)
        self._client = _client(endpoint)
        self._cache = FileStore(cache, max_bytes=max_bytes)
        self._at_hand = _AtHand(self._cache, cache_bytes, clock)
        self._fetching = _OneAtATime()
        self._transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4
        )
        with self._explained():
            self._client.head_bucket(Bucket=self._bucket)

    def put(self, source: bytes | Path | BinaryIO | Iterable[bytes]) -> StoredBytes:
        """Keep these bytes: on return the store has them, under their hash.

        Raises:
            TooLarge: more than ``max_bytes``; nothing is kept.
            StoreError: the store or the disk refused.
        """
        stored = self._cache.put(source)
        self._at_hand.used(stored.sha256, stored.size)
        if not self._is_stored(stored.sha256):
            with self._explained():
                self._client.upload_file(
                    str(self._cache.path(stored.sha256)),
                    self._bucket,
                    self._key(stored.sha256),
                    Config=self._transfer,
                )
        return stored

    def has(self, sha256: str) -> bool:
        """Whether the store has this content."""
        return self._is_stored(sha256)

    def existing(self, sha256: str) -> Path:
        """Where the content of this hash lies for now; it is brought here if need be, and checked.

        Raises:
            NotFound: the store does not have it.
            StoreError: it did not answer, or the content is not what it was.
        """
        with self._fetching.of(sha256):
            path = self._cache.path(sha256)
            if not path.is_file():
                self._fetch(sha256)
            self._at_hand.used(sha256, path.stat().st_size)
        return path

    def remove(self, sha256: str) -> None:
        """Forget this content, if it is here."""
        with self._fetching.of(sha256), self._explained():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(sha256))
            self._cache.remove(sha256)
            self._at_hand.gone(sha256)

    def _fetch(self, sha256: str) -> None:
        with self._explained(sha256):
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(sha256))["Body"]
            with body:
                found = self._cache.put(body.iter_chunks(CHUNK))
        if found.sha256 != sha256:
            self._cache.remove(found.sha256)
            raise StoreError(
                f"expected the content {sha256[:12]}… in {self._place()}, got other bytes: it is damaged",
                f"{self._place()} 中的内容 {sha256[:12]}… 已损坏：字节与其哈希不符",
                code="damaged_file",
            )

    def _is_stored(self, sha256: str) -> bool:
        try:
            with self._explained(sha256):
                self._client.head_object(Bucket=self._bucket, Key=self._key(sha256))
        except NotFound:
            return False
        return True

    def _key(self, sha256: str) -> str:
        return f"{self._prefix}{self._cache.path(sha256).relative_to(self._cache.root).as_posix()}"

    def _place(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    @contextmanager
    def _explained(self, sha256: str | None = None) -> Iterator[None]:
        """What the client raises, as one of our errors."""
        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if sha256 is not None and status == 404:
                raise NotFound(
                    f"the content {sha256[:12]}… is not stored in {self._place()}",
                    f"{self._place()} 中没有内容 {sha256[:12]}…",
                ) from error
            raise self._refused(f"{error.response.get('Error', {}).get('Code', status)}") from error
        except (BotoCoreError, Boto3Error) as error:
            raise self._refused(str(error)) from error
        except OSError as error:
            raise unwritable(self._cache.root, error) from error

    def _refused(self, told: str) -> StoreError:
        return StoreError(
            f"expected {self._place()} to answer, got: {told}",
            f"{self._place()} 未能完成请求：{told}",
            code="files_unavailable",
            retry_after=RETRY_SECONDS,
        )


def bucket_of(url: str) -> tuple[str, str]:
    """Bucket and prefix (empty, or with a slash at its end).

    Raises:
        SettingsError: not ``s3://bucket`` or ``s3://bucket/prefix``.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise SettingsError(
            f"expected s3://bucket/prefix without credentials, got {parts.scheme}://…",
            f"应为不含凭据的 s3://存储桶/前缀，实际为 {parts.scheme}://…",
            param="library.files_url",
        )
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


class _AtHand:
    """Which files of the cache were used when, and which of them can go."""

    def __init__(self, cache: FileStore, most: int, clock: Callable[[], float]) -> None:
        self._cache = cache
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        # Those of an earlier process come first; of them nobody is in use.
        self._files: OrderedDict[str, tuple[int, float]] = OrderedDict(
            (sha256, (size, -IN_USE_SECONDS)) for sha256, size in cache.contents()
        )
        self._bytes = sum(size for size, _ in self._files.values())

    def used(self, sha256: str, size: int) -> None:
        """Note it, and make room."""
        with self._lock:
            self._forget(sha256)
            self._files[sha256] = (size, self._clock())
            self._bytes += size
            while self._bytes > self._most:
                oldest, (_, when) = next(iter(self._files.items()))
                if self._clock() - when < IN_USE_SECONDS:
                    break
                self._forget(oldest)
                self._cache.remove(oldest)

    def gone(self, sha256: str) -> None:
        """Note that it was removed."""
        with self._lock:
            self._forget(sha256)

    def _forget(self, sha256: str) -> None:
        size, _ = self._files.pop(sha256, (0, 0.0))
        self._bytes -= size


class _OneAtATime:
    """Several threads that want one file fetch it once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        with self._lock:
            lock, waiting = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = (lock, waiting + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._locks.pop(key)
                if waiting > 1:
                    self._locks[key] = (lock, waiting - 1)


def _client(endpoint: str) -> Any:
    session = boto3.session.Session()
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        # Other servers do not all know AWS's newer checksums; the hash is checked when a file comes back.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = session.region_name or (ANY_REGION if endpoint else None)
    try:
        return session.client("s3", endpoint_url=endpoint or None, region_name=region, config=config)
    except ValueError as error:
        raise SettingsError(
            f"expected an address such as https://s3.example for library.files_endpoint, got {endpoint!r}",
            f"library.files_endpoint 应为 https://s3.example 这样的地址，实际为 {endpoint!r}",
            param="library.files_endpoint",
        ) from error
