"""The places that the settings name."""

from importlib import import_module
from pathlib import Path

from chiasm.errors import SettingsError
from chiasm.settings import LibrarySettings
from chiasm.stores.files import Files, FileStore

FILES = "files"
CACHE = "cache"
SAMPLE_MARK = "sample-added"  # so that a sample library that was deleted stays deleted


def open_files(
    library: LibrarySettings, *, max_bytes: int, own: bool = True, cache: Path | None = None
) -> Files:
    """Where copied files are kept: in the data directory, or in an S3-compatible store.

    Args:
        own: whether this is the process that holds the data directory.
        cache: of files from S3; in the data directory, if ``None``.

    Raises:
        SettingsError: a URL that cannot be used.
        StoreError: the place cannot be reached or written.
    """
    if not library.files_url:
        return FileStore(library.data_dir / FILES, max_bytes=max_bytes, own=own)
    try:
        s3 = import_module("chiasm.stores.s3")
    except ModuleNotFoundError as error:
        raise SettingsError(
            "expected the package boto3 for library.files_url, got none: install chiasm[s3]",
            "library.files_url 需要 boto3：请安装 chiasm[s3]",
            param="library.files_url",
        ) from error
    found: Files = s3.S3FileStore(
        library.files_url,
        endpoint=library.files_endpoint,
        cache=cache or library.data_dir / CACHE,
        cache_bytes=library.files_cache_bytes,
        max_bytes=max_bytes,
    )
    return found
