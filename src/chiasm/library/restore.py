"""A backup becomes a library again: in a new data directory, in an empty PostgreSQL database, in S3."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from chiasm.errors import Conflict
from chiasm.library.backup import FILES, Manifest, copied_contents, damaged_backup, read_manifest
from chiasm.settings import Settings
from chiasm.stores import Files, FileStore, database_of, dump, open_files
from chiasm.stores.database import Database
from chiasm.stores.files import hash_file, sync_folder
from chiasm.stores.opening import SAMPLE_MARK
from chiasm.stores.trouble import unwritable


@dataclass(frozen=True, kw_only=True)
class RestoreReport:
    """What is there again; ``damaged`` are contents that the backup did not have either."""

    library: str
    rows: int
    files: int
    bytes: int
    references: int
    damaged: int


def restore(source: Path, settings: Settings, progress: Callable[[int, int], None]) -> RestoreReport:
    """Make the library of ``settings`` from the backup in ``source``; all of it, or nothing.

    Everything is checked against its hash. What is made goes into a folder beside the data directory, which
    takes its name at the end.

    Raises:
        Conflict: there is something in the data directory, or in the database.
        NotFound: there is no backup in ``source``.
        StoreError: it is damaged, of a newer version, or there is no room.
    """
    manifest = read_manifest(source)
    target = settings.library.data_dir.absolute()
    try:
        _check_tables(source, manifest)
        with _Staging(target) as staging:
            library = replace(settings.library, data_dir=staging.folder)
            files = open_files(library, max_bytes=settings.limits.file_bytes)
            with (
                closing(Database(database_of(library), folder=staging.folder)) as database,
                database.write() as connection,
                (source / manifest.tables).open("rb") as lines,
            ):
                dump.load(connection, lines)
                count, size = _bring(connection, files, source, manifest, progress)
                if database.portable:  # rows elsewhere become visible last
                    staging.publish()
            staging.publish()
    except OSError as error:
        raise unwritable(target, error) from error
    return RestoreReport(
        library=manifest.library,
        rows=manifest.rows,
        files=count,
        bytes=size,
        references=manifest.references,
        damaged=len(manifest.damaged),
    )


def _bring(
    connection: sa.Connection,
    files: Files,
    source: Path,
    manifest: Manifest,
    progress: Callable[[int, int], None],
) -> tuple[int, int]:
    """The files that the rows speak of; their number and bytes."""
    kept = FileStore(source / FILES, max_bytes=0, own=False)
    damaged = frozenset(manifest.damaged)
    contents = copied_contents(connection)
    wanted = [(sha256, size) for sha256, size in contents.items() if sha256 not in damaged]
    for done, (sha256, _) in enumerate(wanted):
        progress(done, len(wanted))
        if not kept.has(sha256) or files.put(kept.path(sha256)).sha256 != sha256:
            raise damaged_backup(source, f"no content {sha256[:12]}… that has this hash")
    progress(len(wanted), len(wanted))
    return len(wanted), sum(size for _, size in wanted)


def _check_tables(source: Path, manifest: Manifest) -> None:
    path = source / manifest.tables
    if not path.is_file():
        raise damaged_backup(source, f"no {manifest.tables}")
    if hash_file(path, max_bytes=path.stat().st_size).sha256 != manifest.tables_sha256:
        raise damaged_backup(source, f"a {manifest.tables} that is not what was written")


class _Staging:
    """A new folder that becomes ``target``; unless the block ends well, nothing is left of it."""

    def __init__(self, target: Path) -> None:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise Conflict(
                f"expected a new or empty data directory, got {target}: nothing is overwritten",
                f"数据目录应为新目录或空目录，实际 {target} 中已有内容；不会覆盖",
                param="library.data_dir",
                code="not_empty",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        self._target = target
        self._published = False
        self.folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))

    def publish(self) -> None:
        """Give the folder its name; a second call does nothing."""
        if not self._published:
            (self.folder / SAMPLE_MARK).touch()  # a library that comes back is not a new one
            sync_folder(self.folder)
            os.rename(self.folder, self._target)
            self._published = True
            sync_folder(self._target.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self._target if self._published else self.folder, ignore_errors=True)
