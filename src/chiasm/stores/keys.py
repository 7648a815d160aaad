"""Keys, and what has been used of them, in an SQLite file of their own in the data directory.

Of their own, because every web process reads and writes it with each request: nobody waits for the library's
long transactions, and keys can be made while no server runs. What was created or revoked is on the disk when
the method returns; what was counted survives a kill, but the last moments of it not a power cut.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from chiasm.errors import InvalidInput, NotFound, StoreError
from chiasm.stores.allowances import Bucket, day_of, expect_budget
from chiasm.stores.key_records import (
    Allowance,
    Amounts,
    KeyRecord,
    checked_name,
    checked_rights,
    is_secret,
    new_token,
    split_token,
)

FILE = "keys.sqlite"
BUSY_MILLISECONDS = 10_000
KEPT_DAYS = 35

tables = sa.MetaData()
keys = sa.Table(
    "keys",
    tables,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("rights", sa.Text, nullable=False),
    sa.Column("rate", sa.Float),
    sa.Column("text_tokens", sa.Float),
    sa.Column("pixels", sa.Float),
    sa.Column("media_seconds", sa.Float),
    sa.Column("created_at", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Integer),
)
buckets = sa.Table(
    "buckets",
    tables,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("level", sa.Float, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
usage = sa.Table(
    "usage",
    tables,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("text_tokens", sa.Float, nullable=False),
    sa.Column("pixels", sa.Float, nullable=False),
    sa.Column("media_seconds", sa.Float, nullable=False),
)
seals = sa.Table("seals", tables, sa.Column("secret", sa.LargeBinary, nullable=False))

_AMOUNTS = ("text_tokens", "pixels", "media_seconds")
_KEY = sa.select(keys).where(keys.c.id == sa.bindparam("id"))
_ANY = sa.select(sa.literal(1)).select_from(keys).limit(1)
_BUCKET = sa.select(buckets.c.level, buckets.c.at).where(buckets.c.key_id == sa.bindparam("id"))
_KEEP_BUCKET = sa.insert(buckets).prefix_with("OR REPLACE")
_USED = sa.select(*(usage.c[name] for name in _AMOUNTS)).where(
    usage.c.key_id == sa.bindparam("id"), usage.c.day == sa.bindparam("today")
)
_KEEP_USED = sa.insert(usage).prefix_with("OR REPLACE")


class Keys:
    """All keys of a data directory; several processes may hold it at once. Thread-safe.

    Args:
        data_dir: made if missing.
        clock: seconds since the epoch.
    """

    def __init__(self, data_dir: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = _open(data_dir / FILE)
        self._clock = clock
        self._writing = threading.Lock()  # threads wait here, so that SQLite only has processes to keep apart

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> "Keys":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(
        self,
        name: str,
        rights: tuple[str, ...],
        *,
        allowance: Allowance | None = None,
        expires_at: float | None = None,
    ) -> tuple[KeyRecord, str]:
        """A new key, and the token that its owner shows: it cannot be had again.

        Raises:
            InvalidInput: a name or rights that cannot be, or a bound below 0.
        """
        may = allowance or Allowance()
        bounds = {"rate": may.rate, **{bound: getattr(may, bound) for bound in _AMOUNTS}}
        for bound, value in bounds.items():
            if value is not None and not 0 <= value < float("inf"):
                raise InvalidInput(
                    f"expected a number of at least 0, got {value:g}",
                    f"应为不小于 0 的数，实际为 {value:g}",
                    param=bound,
                )
        identity, token, digest = new_token()
        record = KeyRecord(
            id=identity,
            name=checked_name(name),
            rights=checked_rights(rights),
            allowance=may,
            created_at=int(self._clock()),
            expires_at=expires_at,
        )
        values = {
            "id": identity,
            "name": record.name,
            "digest": digest,
            "rights": ",".join(record.rights),
            "created_at": record.created_at,
            "expires_at": expires_at,
        }
        with self._write(durable=True) as connection:
            connection.execute(sa.insert(keys).values(**values, **bounds))
        return record, token

    def records(self) -> list[tuple[KeyRecord, Amounts]]:
        """Every key there ever was, the oldest first, and what has been used of it today."""
        today = day_of(self._clock())
        with self._read() as connection:
            used = {
                row.key_id: Amounts(**{name: row._mapping[name] for name in _AMOUNTS})
                for row in connection.execute(sa.select(usage).where(usage.c.day == today))
            }
            found = connection.execute(sa.select(keys).order_by(sa.literal_column("rowid"))).all()
        return [(_record(row), used.get(row.id, Amounts())) for row in found]

    def revoke(self, reference: str) -> KeyRecord:
        """Close a key for good, by id, or by a name that only one open key has.

        Raises:
            NotFound: there is none.
            InvalidInput: several open keys have this name.
        """
        with self._write(durable=True) as connection:
            row = connection.execute(_KEY, {"id": reference}).first()
            if row is None:
                named = sa.select(keys).where(keys.c.name == reference, keys.c.revoked_at.is_(None))
                row = _only(connection.execute(named).all(), reference)
            if row.revoked_at is None:
                now = int(self._clock())
                connection.execute(sa.update(keys).where(keys.c.id == row.id).values(revoked_at=now))
            changed = connection.execute(_KEY, {"id": row.id}).one()
        return _record(changed)

    def exist(self) -> bool:
        """Whether a key was ever made: from then on one is needed, even when all have been revoked."""
        with self._read() as connection:
            return connection.execute(_ANY).first() is not None

    def find(self, token: str) -> KeyRecord | None:
        """The key that this token opens now, or ``None``."""
        split = split_token(token)
        if split is None:
            return None
        with self._read() as connection:
            row = connection.execute(_KEY, {"id": split[0]}).first()
        if row is None or not is_secret(split[1], row.digest):
            return None
        record = _record(row)
        return record if record.is_valid(self._clock()) else None

    def get(self, key_id: str) -> KeyRecord | None:
        """The key of this id if it is open now, else ``None``."""
        with self._read() as connection:
            row = connection.execute(_KEY, {"id": key_id}).first()
        record = None if row is None else _record(row)
        return record if record is not None and record.is_valid(self._clock()) else None

    def admit(self, key: KeyRecord) -> None:
        """Count one request.

        Raises:
            RateLimited: more than the key's rate.
        """
        rate, now = key.allowance.rate, self._clock()
        if rate is None:
            return
        with self._write() as connection:
            row = connection.execute(_BUCKET, {"id": key.id}).first()
            bucket = Bucket.full(rate, now) if row is None else Bucket(level=row.level, at=row.at)
            left = bucket.take(rate, now)
            connection.execute(_KEEP_BUCKET, {"key_id": key.id, "level": left.level, "at": left.at})

    def spend(self, key: KeyRecord, wanted: Amounts) -> None:
        """Count what a request is about to use; negative amounts give back what was not.

        Raises:
            RateLimited: more than is left of the key's budget of today.
        """
        if not wanted:
            return
        now = self._clock()
        today = day_of(now)
        with self._write() as connection:
            row = connection.execute(_USED, {"id": key.id, "today": today}).first()
            used = Amounts() if row is None else Amounts(**row._mapping)
            expect_budget(key.allowance.budgets(), used, wanted, now)
            kept = {name: max(0, amount) for name, amount in (used + wanted).items()}
            connection.execute(_KEEP_USED, {"key_id": key.id, "day": today, **kept})
            if row is None:
                connection.execute(sa.delete(usage).where(usage.c.day < today - KEPT_DAYS))

    def seal(self) -> bytes:
        """A secret of this data directory (32 bytes), the same for all its processes."""
        with self._write(durable=True) as connection:
            found = connection.scalar(sa.select(seals.c.secret))
            if found is None:
                found = os.urandom(32)
                connection.execute(sa.insert(seals).values(secret=found))
        return bytes(found)

    @contextmanager
    def _write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        with self._writing, self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            with connection.begin():
                yield connection

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._engine.connect().execution_options(reading=True) as connection:
            yield connection


def keys_exist(data_dir: Path) -> bool:
    """Whether a key is needed in this data directory; makes nothing."""
    if not (data_dir / FILE).exists():
        return False
    with Keys(data_dir) as found:
        return found.exist()


def _open(path: Path) -> sa.Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _unusable(path, error.strerror) from error
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False}, pool_size=64)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            tables.create_all(connection)
    except sa.exc.DatabaseError as error:
        engine.dispose()
        raise _unusable(path, error.orig) from error
    return engine


def _unusable(path: Path, reason: object) -> StoreError:
    return StoreError(
        f"expected a usable database in {path}, got: {reason}", f"{path} 不是可用的数据库：{reason}"
    )


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # so that BEGIN is ours
    for pragma in (f"busy_timeout={BUSY_MILLISECONDS}", "journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _record(row: sa.Row[Any]) -> KeyRecord:
    found = row._mapping
    return KeyRecord(
        id=found["id"],
        name=found["name"],
        rights=checked_rights(tuple(found["rights"].split(","))),
        allowance=Allowance(rate=found["rate"], **{name: found[name] for name in _AMOUNTS}),
        created_at=found["created_at"],
        expires_at=found["expires_at"],
        revoked_at=found["revoked_at"],
    )


def _only(found: Sequence[sa.Row[Any]], reference: str) -> sa.Row[Any]:
    if not found:
        raise NotFound(f"there is no key {reference!r}", f"没有密钥 {reference!r}", param="key")
    if len(found) > 1:
        ids = ", ".join(row.id for row in found)
        raise InvalidInput(
            f"expected the id of one key, got {reference!r}, which is the name of {ids}",
            f"应给出一个密钥的编号，名称 {reference!r} 对应多个：{ids}",
            param="key",
        )
    return found[0]
