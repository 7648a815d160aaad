"""An uploaded file on its way into the library: looked at by content, named safely, never held in memory."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from flask import Request, current_app
from werkzeug.datastructures import FileStorage

from chiasm.api.context import context
from chiasm.errors import ChiasmError, TooLarge
from chiasm.media import sniff
from chiasm.stores import FileRecord
from chiasm.stores.trouble import unwritable

HEAD_BYTES = 4096
MAX_NAME = 255
FOLDER = "uploads"
LEFT_OVER_SECONDS = 86_400.0  # no request takes a day: what is older was left by a process that was killed


class StreamingRequest(Request):
    """A request whose uploads go to the data directory's disk as they come in."""

    def _get_file_stream(  # werkzeug's hook
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[Any]:
        settings = current_app.extensions["chiasm"].context.settings
        folder = settings.library.data_dir / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return tempfile.NamedTemporaryFile("wb+", dir=os.fspath(folder))  # gone with the request
        except OSError as error:
            raise unwritable(folder, error) from error


def sweep(data_dir: Path, now: float) -> None:
    """Remove what uploads that were cut off by a kill have left."""
    for path in (data_dir / FOLDER).glob("*"):
        with suppress(OSError):  # another worker was faster
            if now - path.stat().st_mtime > LEFT_OVER_SECONDS:
                path.unlink()


def keep(upload: FileStorage, purpose: str, *, param: str = "file") -> FileRecord:
    """Put an upload into the library.

    Raises:
        UnsupportedMedia: not media that can be decoded.
        TooLarge: more than ``limits.file_bytes``.
    """
    size = upload.stream.seek(0, os.SEEK_END)
    limit = context().settings.limits.file_bytes
    if size > limit:
        raise TooLarge(
            f"expected a file of at most {limit} bytes (limits.file_bytes), got {size}",
            f"文件不得超过 {limit} 字节（limits.file_bytes），实际为 {size} 字节",
            param=param,
        )
    upload.stream.seek(0)
    try:
        kind = sniff(upload.stream.read(HEAD_BYTES))
    except ChiasmError as error:
        raise error.at(param) from None
    name = safe_name(upload.filename)
    return context().library.upload_file(path_of(upload), name, purpose=purpose, mime=kind.mime)


def safe_name(given: str | None) -> str:
    """The last component of a file name without control characters: for people to read, never for a path."""
    name = (given or "").replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c for c in name if c.isprintable()).strip()
    return name[-MAX_NAME:] or "file"


def path_of(upload: FileStorage) -> Path:
    """Where the bytes of an upload lie until its request ends."""
    upload.stream.flush()
    return Path(upload.stream.name)  # made by StreamingRequest
