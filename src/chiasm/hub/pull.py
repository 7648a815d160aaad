"""Bring a model from a hub: fetch what is listed, go on with halves, check each file against its hash."""

import hashlib
import http.client
import shutil
import time
import urllib.error
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

from chiasm.errors import FetchFailed
from chiasm.hub.digest import digest_of
from chiasm.hub.listing import DEFAULT_REVISION, File, Offer, opened, unreachable
from chiasm.hub.names import Receipt, folder_of, write_receipt

ATTEMPTS = 5
PAUSE = 1.0  # seconds before the second attempt, doubled each time
CHUNK = 1 << 20

Progress = Callable[[int, int], None]


def pull(offer: Offer, progress: Progress = lambda _done, _total: None) -> Path:
    """Fetch what :func:`look` found; goes on where it was interrupted.

    Args:
        progress: called with (bytes there, bytes in all).

    Returns:
        The folder.

    Raises:
        FetchFailed: the hub fails for good, or sends what is not what it listed: that is thrown away.
    """
    folder = folder_of(offer.source) / offer.commit
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    missing = sum(file.size for file in offer.files if not (folder / file.path).is_file())
    if missing > free:
        raise FetchFailed(
            f"expected room for {missing} bytes in {folder}, got {free}",
            f"{folder} 需要 {missing} 字节，实际只剩 {free} 字节",
        )
    before = 0
    hashes: dict[str, str] = {}

    def told(earlier: int, now: int) -> None:
        progress(earlier + now, offer.bytes)

    for file in offer.files:
        hashes[file.path] = _bring(offer, file, folder / file.path, partial(told, before))
        before += file.size
    progress(offer.bytes, offer.bytes)
    write_receipt(
        folder,
        Receipt(
            source=f"{offer.source.hub}:{offer.source.id}",
            revision=offer.source.revision or DEFAULT_REVISION[offer.source.hub],
            commit=offer.commit,
            licence=offer.licence,
            bytes=offer.bytes,
            files=hashes,
        ),
    )
    return folder


def _bring(offer: Offer, file: File, path: Path, told: Callable[[int], None]) -> str:
    """One file, whole and checked; its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.stat().st_size == file.size and _fits(path, file):
        return digest_of(path)
    part = path.with_name(path.name + ".part")
    pause = PAUSE
    for attempt in range(ATTEMPTS):
        try:
            _go_on(_url(offer, file), part, file, offer, told)
            break
        except (OSError, http.client.HTTPException) as error:
            final = isinstance(error, urllib.error.HTTPError) and error.code in {400, 401, 403, 404, 410}
            if final or attempt == ATTEMPTS - 1:
                raise unreachable(offer.source, file.path, error) from error
            time.sleep(pause)
            pause *= 2
    if part.stat().st_size != file.size or not _fits(part, file):
        part.unlink()
        raise FetchFailed(
            f"{file.path}: what came is not what {offer.endpoint} lists (size or hash); it was thrown away",
            f"{file.path}：收到的内容与 {offer.endpoint} 所列的大小或哈希不符，已丢弃",
            param=file.path,
        )
    part.replace(path)
    return digest_of(path)


def _go_on(url: str, part: Path, file: File, offer: Offer, told: Callable[[int], None]) -> None:
    have = part.stat().st_size if part.is_file() else 0
    if have > file.size:
        part.unlink()
        have = 0
    told(have)
    if have == file.size and part.is_file():
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    with opened(url, offer.source.hub, headers) as answer:
        whole = answer.status != 206  # it does not go on, so neither do we
        have = 0 if whole else have
        with part.open("wb" if whole else "ab") as out:
            while chunk := answer.read(min(CHUNK, file.size - have + 1)):
                out.write(chunk)
                have += len(chunk)
                told(min(have, file.size))
                if have > file.size:
                    break
    if have < file.size:
        raise http.client.IncompleteRead(b"", file.size - have)


def _fits(path: Path, file: File) -> bool:
    if file.sha256 is not None:
        return digest_of(path) == file.sha256
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    blob.update(path.read_bytes())
    return blob.hexdigest() == file.git


def _url(offer: Offer, file: File) -> str:
    path = f"{offer.source.id}/resolve/{quote(offer.commit, safe='')}/{quote(file.path)}"
    return (
        f"{offer.endpoint}/models/{path}" if offer.source.hub == "modelscope" else f"{offer.endpoint}/{path}"
    )
