"""A copy of a library that can be taken while it is served, added to later, and put back anywhere.

    DEST/manifest.json      what it is, as a whole: written last, replaced atomically
    DEST/tables-….jsonl     every row, of one moment (see ``stores.dump``)
    DEST/files/ab/cdef…     copied files by their content; linked instead where that is possible

Vector indexes are not in it: they are rebuilt from the rows. Jobs are not either. Files that are only
referred to stay where they are; their paths are among the rows.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from chiasm.errors import ChiasmError, Conflict, NotFound, StoreError
from chiasm.settings import Settings
from chiasm.stores import Files, FileStore, database_of, dump, open_files
from chiasm.stores.database import Database
from chiasm.stores.files import hash_file, sync_folder
from chiasm.stores.schema import files as files_table
from chiasm.stores.trouble import unwritable

FORMAT = 1
MANIFEST = "manifest.json"
MARK = "chiasm-backup"  # the first thing in a backup: nothing else is ever written into
FILES = "files"
FETCHED = "fetched"  # of files that come from S3 on their way here
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a backup holds.

    Attributes:
        library: id of the library.
        tables: name of the file of rows, its SHA-256 in ``tables_sha256``.
        files, bytes: copied files, each content once.
        references: files that lie elsewhere, and are not in the backup.
        damaged: contents that the library itself had lost, or that were not what they should be.
    """

    format: int
    library: str
    schema: int
    created_at: int
    tables: str
    tables_sha256: str
    rows: int
    files: int
    bytes: int
    references: int
    damaged: tuple[str, ...]


@dataclass(kw_only=True)
class BackupReport:
    """What one run did: ``copied`` and ``linked`` files were new, ``kept`` ones were there already."""

    copied: int = 0
    linked: int = 0
    kept: int = 0
    removed: int = 0
    manifest: Manifest | None = None


@dataclass(kw_only=True)
class _Snapshot:
    """The rows of one moment, written down, and the contents that they speak of."""

    name: str
    sha256: str
    dumped: dump.Dumped
    contents: Mapping[str, int] = field(default_factory=dict)
    references: int = 0


def back_up(
    settings: Settings,
    destination: Path,
    progress: Progress,
    *,
    clock: Callable[[], float] = time.time,
) -> BackupReport:
    """Copy the library of ``settings`` to ``destination``, which is new, or a backup of the same library.

    Whatever interrupts it, the backup that was there before stays whole; run again, it goes on.

    Raises:
        Conflict: there is something else in ``destination``.
        StoreError: the library cannot be read, or there is no room.
    """
    report = BackupReport()
    with (
        closing(Database(database_of(settings.library), own=False)) as database,
        _claimed(destination),
        _source(settings, destination) as source,
    ):
        former = read_manifest(destination) if (destination / MANIFEST).is_file() else None
        kept = FileStore(destination / FILES, max_bytes=settings.limits.file_bytes)
        try:
            damaged: frozenset[str] = frozenset()
            while True:
                snapshot = _write_tables(database, destination)
                if former is not None and former.library != snapshot.dumped.library:
                    raise _of_another(destination)
                lost = _copy(source, kept, snapshot, report, progress)
                # What is not there was deleted since the rows were read, unless they still speak of it.
                if lost <= damaged:
                    break
                damaged = lost
            report.manifest = _manifest(snapshot, lost, int(clock()))
            _write_manifest(destination, report.manifest)
            report.kept = report.manifest.files - report.copied - report.linked
            report.removed = _tidy(destination, kept, snapshot)
        except OSError as error:
            raise unwritable(destination, error) from error
    return report


def read_manifest(folder: Path) -> Manifest:
    """What the backup in ``folder`` holds.

    Raises:
        NotFound: there is no backup, or none that was finished.
        StoreError: it is damaged, or of a newer chiasm.
    """
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        if int(found["format"]) > FORMAT:
            raise damaged_backup(folder, f"format {found['format']}, which a newer chiasm has made")
        manifest = Manifest(**{**found, "damaged": tuple(found["damaged"])})
    except FileNotFoundError as error:
        raise NotFound(f"there is no finished backup in {folder}", f"{folder} 中没有完成的备份") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged_backup(folder, f"a manifest that cannot be read ({error})") from error
    if Path(manifest.tables).name != manifest.tables:
        raise damaged_backup(folder, "a manifest that points elsewhere")
    return manifest


def _write_tables(database: Database, destination: Path) -> _Snapshot:
    partial = destination / "tables.part"
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as out, database.read() as connection:
            dumped = dump.write(connection, _Hashing(out, digest))
            contents = copied_contents(connection)
            references = connection.scalar(
                sa.select(sa.func.count()).where(files_table.c.mode == "reference").select_from(files_table)
            )
            out.flush()
            os.fsync(out.fileno())
        name = f"tables-{digest.hexdigest()[:16]}.jsonl"
        partial.replace(destination / name)
    finally:
        partial.unlink(missing_ok=True)
    return _Snapshot(
        name=name,
        sha256=digest.hexdigest(),
        dumped=dumped,
        contents=contents,
        references=references or 0,
    )


def copied_contents(connection: sa.Connection) -> dict[str, int]:
    """Hash and size of every content that a row of the library speaks of."""
    query = sa.select(files_table.c.sha256, sa.func.max(files_table.c.bytes))
    copied = sa.and_(files_table.c.mode == "copy", files_table.c.sha256.is_not(None))
    query = query.where(copied).group_by(files_table.c.sha256).order_by(files_table.c.sha256)
    return {row[0]: row[1] for row in connection.execute(query)}


def _copy(
    source: Files, kept: FileStore, snapshot: _Snapshot, report: BackupReport, progress: Progress
) -> frozenset[str]:
    """Bring over what is not there yet; the contents that could not be had."""
    lost = set()
    total = len(snapshot.contents)
    for done, (sha256, size) in enumerate(snapshot.contents.items()):
        progress(done, total)
        if kept.has(sha256) and kept.path(sha256).stat().st_size == size:
            continue
        try:
            path = source.existing(sha256)
            if _linked(path, kept, sha256):
                report.linked += 1
                continue
            with path.open("rb") as content:  # opened here: that it has just gone is not the backup's trouble
                if kept.put(content).sha256 == sha256:
                    report.copied += 1
                else:
                    lost.add(sha256)
        except (NotFound, FileNotFoundError):
            lost.add(sha256)
        except StoreError as error:
            if error.code != "damaged_file":
                raise
            lost.add(sha256)
    progress(total, total)
    return frozenset(lost)


def _linked(path: Path, kept: FileStore, sha256: str) -> bool:
    """Make a second name of the same file, whose bytes never change; False where that cannot be."""
    target = kept.path(sha256)
    if path.stat().st_dev != kept.root.stat().st_dev:
        return False
    if hash_file(path, max_bytes=path.stat().st_size).sha256 != sha256:
        return False  # to be found by the copy
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)  # of another size: torn by a crash of the machine
    try:
        os.link(path, target)
    except OSError:
        return False  # no links on this file system
    sync_folder(target.parent)
    return True


def _manifest(snapshot: _Snapshot, damaged: frozenset[str], now: int) -> Manifest:
    sizes = [size for sha256, size in snapshot.contents.items() if sha256 not in damaged]
    return Manifest(
        format=FORMAT,
        library=snapshot.dumped.library,
        schema=snapshot.dumped.schema,
        created_at=now,
        tables=snapshot.name,
        tables_sha256=snapshot.sha256,
        rows=snapshot.dumped.rows,
        files=len(sizes),
        bytes=sum(sizes),
        references=snapshot.references,
        damaged=tuple(sorted(damaged)),
    )


def _write_manifest(destination: Path, manifest: Manifest) -> None:
    partial = destination / f"{MANIFEST}.part"
    try:
        with partial.open("w", encoding="utf-8") as out:
            json.dump(asdict(manifest), out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(destination / MANIFEST)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(destination)


def _tidy(destination: Path, kept: FileStore, snapshot: _Snapshot) -> int:
    """Remove what only the former state of the backup needed; the number of files."""
    for path in destination.glob("tables-*.jsonl"):
        if path.name != snapshot.name:
            path.unlink()
    unused = [sha256 for sha256, _ in kept.contents() if sha256 not in snapshot.contents]
    for sha256 in unused:
        kept.remove(sha256)
    return len(unused)


@contextmanager
def _source(settings: Settings, destination: Path) -> Iterator[Files]:
    """The library's files, to be read only: the server that owns them may be running."""
    fetched = destination / FETCHED
    try:
        yield open_files(settings.library, max_bytes=settings.limits.file_bytes, own=False, cache=fetched)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)


@contextmanager
def _claimed(destination: Path) -> Iterator[None]:
    """A folder for a backup, and nobody else who writes one there.

    Raises:
        Conflict: there is something else in it, or another backup is being written.
        StoreError: it cannot be written.
    """
    try:
        destination.mkdir(mode=0o700, parents=True, exist_ok=True)  # snippets are private, too
        mark = destination / MARK
        if not mark.exists() and any(destination.iterdir()):
            raise Conflict(
                f"expected a new folder or a backup, got {destination}, which holds something else",
                f"应为新目录或已有的备份，实际 {destination} 中有其他内容",
                code="not_a_backup",
            )
        handle = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(destination, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"expected to be alone in writing to {destination}, got another backup that is running",
                f"另一个备份正在写入 {destination}",
                code="backup_running",
            ) from error
        yield
    finally:
        os.close(handle)


def _of_another(destination: Path) -> ChiasmError:
    return Conflict(
        f"expected a backup of this library in {destination}, got one of another library",
        f"{destination} 中是另一个资料库的备份",
        code="backup_of_another",
    )


def damaged_backup(folder: Path, what: str) -> StoreError:
    """The error for a backup that cannot be used."""
    return StoreError(
        f"expected a whole backup in {folder}, got {what}",
        f"{folder} 中的备份不完整：{what}",
        code="damaged_backup",
    )


class _Hashing:
    """Writes and hashes at once."""

    def __init__(self, out: BinaryIO, digest: Any) -> None:
        self._out = out
        self._digest = digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._out.write(data)
