"""The database behind the stores, SQLite or PostgreSQL, opened at the present schema version."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from chiasm.errors import NotFound, SettingsError, StoreError
from chiasm.settings import LibrarySettings
from chiasm.stores import dump, migrations
from chiasm.stores.files import sync_folder
from chiasm.stores.owner import Owner
from chiasm.stores.trouble import explained, unwritable

BUSY_MILLISECONDS = 10_000
CONNECT_SECONDS = 10
FILE = "library.sqlite"


def url_of(database: Path | str) -> sa.URL:
    """The URL of a SQLite file, or what ``library.database_url`` says.

    Raises:
        SettingsError: not a URL, or of another kind of database than PostgreSQL.
    """
    if isinstance(database, Path):
        return sa.URL.create("sqlite", database=str(database))
    try:
        url = sa.make_url(database)
    except sa.exc.ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in {"postgresql", "postgres"}:
        shown = database.split(":", 1)[0][:20] if url is None else url.drivername
        raise SettingsError(
            f"expected postgresql://user@host/database, got a URL that begins with {shown!r}",
            f"应为 postgresql://用户@主机/数据库，实际开头为 {shown!r}",
            param="library.database_url",
        )
    return url.set(drivername="postgresql+psycopg")


def database_of(library: LibrarySettings) -> Path | str:
    """Where the database of a library is: a SQLite file or a URL."""
    return library.database_url or library.data_dir / FILE


def place_of(url: sa.URL) -> str:
    """What people know a database by, without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql").render_as_string()


class Database:
    """Transactions on the database of one library.

    Args:
        database: the SQLite file, made if missing; or the URL of a PostgreSQL database.
        folder: where a copy goes before the tables are changed; that of the file, if ``None``.
        own: be the only writer; without it nothing is made, changed or written.

    Raises:
        NotFound: without ``own``, nothing is there yet.
        StoreError: not a database of ours, made by a newer version, not writable, not reachable, or (with
            ``own``) another server's.
    """

    def __init__(self, database: Path | str, *, folder: Path | None = None, own: bool = True) -> None:
        url = url_of(database)
        self.place = place_of(url)
        if not own and isinstance(database, Path) and not database.is_file():
            raise self._no_library()
        self._folder = folder or Path(url.database or "").parent
        self._engine = _engine(url)
        self._owner: Owner | None = None
        try:
            with explained(self.place):
                if own and self.portable:
                    self._owner = Owner(self._engine, self.place)
                self._prepare(own)
        except BaseException:
            self.close()
            raise

    @property
    def portable(self) -> bool:
        """Whether this is PostgreSQL, which several machines can reach."""
        return self._engine.dialect.name == "postgresql"

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that may write; on return it is on the disk."""
        with explained(self.place), self._engine.begin() as connection:
            if self._owner is not None:
                self._owner.check(connection)
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state and never waits for writers."""
        with explained(self.place), self._engine.connect().execution_options(reading=True) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        if self._owner is not None:
            self._owner.release()
        self._engine.dispose()

    def _prepare(self, own: bool) -> None:
        """Tables of the present version."""
        with self._engine.connect().execution_options(reading=True) as connection:
            found = migrations.version_of(connection)
        if found is not None and not 1 <= found <= migrations.SCHEMA_VERSION:
            raise self._other_version(found)
        if found != migrations.SCHEMA_VERSION:
            if not own:
                raise self._other_version(found) if found else self._no_library()
            if found is not None:
                self._keep_copy(found)
            with self._engine.begin() as connection:
                migrations.create(connection) if found is None else migrations.migrate(connection, found)
        if self._owner is not None:
            with self._engine.begin() as connection:
                self._owner.sign(connection)

    def _keep_copy(self, version: int) -> None:
        """The database as it was, beside what it is about to become."""
        suffix = "jsonl" if self.portable else "sqlite"
        target = self._folder / f"library-v{version}.{suffix}"
        partial = target.with_suffix(".part")
        try:
            if self.portable:
                with partial.open("wb") as out, self.read() as connection:
                    dump.write(connection, out)
            else:
                with (
                    closing(sqlite3.connect(self.place)) as source,
                    closing(sqlite3.connect(partial)) as copy,
                ):
                    source.backup(copy)
            with partial.open("rb+") as out:
                os.fsync(out.fileno())
            partial.replace(target)
            sync_folder(self._folder)
        except (OSError, sqlite3.Error) as error:
            partial.unlink(missing_ok=True)
            raise unwritable(self._folder, error if isinstance(error, OSError) else OSError(error)) from error

    def _no_library(self) -> NotFound:
        return NotFound(
            f"there is no library in {self.place}", f"{self.place} 中没有资料库", param="library.data_dir"
        )

    def _other_version(self, found: int) -> StoreError:
        newest = migrations.SCHEMA_VERSION
        if found > newest:
            return StoreError(
                f"expected schema version {newest} or older in {self.place}, got {found}, made by a "
                "newer chiasm: use that one",
                f"{self.place} 的结构版本应不高于 {newest}，实际为 {found}，"
                "由更新版的 chiasm 建立；请使用该版本",
                code="newer_schema",
            )
        return StoreError(
            f"expected the tables of a library (version {newest}) in {self.place}, got "
            + (f"version {found}: start chiasm on it once" if found else "other ones or none"),
            f"{self.place} 中应有版本 {newest} 的资料库表，"
            + (f"实际版本为 {found}；请先用 chiasm 启动一次" if found else "实际没有，或是其他表"),
            code="other_schema",
        )


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    timeout = url.query.get("connect_timeout", str(CONNECT_SECONDS))
    engine = sa.create_engine(
        url,
        connect_args={"connect_timeout": timeout},
        pool_pre_ping=True,  # a server that was restarted is found again
        pool_size=10,
        max_overflow=20,
    )
    event.listen(engine, "connect", _configure_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # so that BEGIN is ours
    for pragma in (
        f"busy_timeout={BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _configure_postgresql(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
    connection.commit()


def _begin_postgresql(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("reading", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
