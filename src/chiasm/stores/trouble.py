"""What databases and disks complain about, as our errors: full, locked, away, damaged."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from chiasm.errors import ChiasmError, Conflict, InvalidInput, StorageFull, StoreError

RETRY_SECONDS = 2.0
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PRIMARY = 0xFF  # SQLite's codes carry details in the bits above


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Raise what the database at ``place`` complains about as one of ours."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise explain(error, place) from error
    except sa.exc.TimeoutError as error:  # of the pool: every connection is in use
        raise _away(place, "no connection became free", "没有空闲连接") from error


def explain(error: sa.exc.DBAPIError, place: str) -> ChiasmError:
    """The error of ours for one of a database driver."""
    told = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    if isinstance(error, sa.exc.IntegrityError):
        return Conflict(
            f"expected what this depends on to be still there, and nothing to be in its place, got: {told}",
            f"所依赖的内容已变动，或位置已被占用：{told}",
        )
    if isinstance(error, sa.exc.DataError):
        return InvalidInput(
            f"expected values that the database can keep, got: {told}", f"数据库无法保存此值：{told}"
        )
    if _says_full(error.orig):
        return full(place)
    if getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY in _BUSY:
        return _away(place, "another program has locked it", "已被其他程序锁定", code="database_locked")
    return _away(place, told, told)


def full(place: object) -> StorageFull:
    """The error for a place where there is no room."""
    return StorageFull(
        f"expected room in {place}, got a full disk; nothing of this was kept, what is there can be read and "
        "searched: free some space, then try again",
        f"{place} 所在磁盘已满，本次内容未保存；已有内容仍可读取和搜索。请腾出空间后重试",
    )


def unwritable(place: object, error: OSError) -> StoreError:
    """The error for a file that could not be written."""
    if error.errno in NO_ROOM:
        return full(place)
    reason = error.strerror or error
    return StoreError(f"expected to write below {place}, got: {reason}", f"无法写入 {place}：{reason}")


def _says_full(raised: BaseException | None) -> bool:
    """SQLite's own code, or PostgreSQL's ``disk_full``."""
    if isinstance(raised, sqlite3.Error):
        return getattr(raised, "sqlite_errorcode", 0) & _PRIMARY == sqlite3.SQLITE_FULL
    return getattr(raised, "sqlstate", None) == "53100"


def _away(place: str, en: str, zh: str, *, code: str = "database_unavailable") -> StoreError:
    return StoreError(
        f"expected a database that answers at {place}, got: {en}",
        f"数据库 {place} 未能应答：{zh}",
        code=code,
        retry_after=RETRY_SECONDS,
    )
