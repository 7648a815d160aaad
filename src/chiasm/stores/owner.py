"""One server owns a PostgreSQL database at a time, as one process owns a data directory."""

import json
import os
import secrets
import socket
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy import event

from chiasm.errors import StoreError
from chiasm.stores.schema import meta

OWNER_KEY = "owner"
LOCK = 0x6368_6961_736D  # "chiasm"; advisory locks are per database


class Owner:
    """The right to write: an advisory lock, which the server takes back when this process dies.

    A lock is lost with its connection (the server was restarted, the network went away), and another chiasm
    may then take it. So who has it also signs, and every transaction that writes looks for its own signature
    first, which nobody can change until that transaction ends: of two that believe they are the owner, only
    the later one can write.

    Raises:
        StoreError: another chiasm has the database.
    """

    def __init__(self, engine: sa.Engine, place: str) -> None:
        self._engine = engine
        self._place = place
        self._signature = json.dumps(
            {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
        )
        self._connection = _detached(engine)
        self._lost = False
        if not _taken(self._connection):
            holder = _told(self._connection)
            self.release()
            raise StoreError(
                f"expected a free database, got {place}, which {holder} is using; stop that server or choose "
                "another library.database_url",
                f"数据库 {place} 正被 {holder} 使用；请先停止该服务，或另选 library.database_url",
                param="library.database_url",
                code="database_in_use",
            )
        # Where one connection has broken, that of the lock may have, too.
        event.listen(engine, "invalidate", self._suspect)

    def sign(self, connection: sa.Connection) -> None:
        """Write down that it is us from here on."""
        connection.execute(sa.delete(meta).where(meta.c.key == OWNER_KEY))
        connection.execute(sa.insert(meta).values(key=OWNER_KEY, value=self._signature))

    def check(self, connection: sa.Connection) -> None:
        """Hold the signature until the end of this transaction.

        Raises:
            StoreError: it is another's.
        """
        if self._lost:
            self._retake()
        query = sa.select(meta.c.value).where(meta.c.key == OWNER_KEY).with_for_update(read=True)
        if connection.scalar(query) != self._signature:
            raise StoreError(
                f"expected {self._place} to be still ours, got another owner; restart one of the two servers",
                f"{self._place} 已归另一个服务所有；请停止其中一个后重启",
                code="database_in_use",
            )

    def release(self) -> None:
        """Let others have it; a connection that is lost has done so already."""
        driver = self._connection.connection.dbapi_connection
        if driver is not None:
            driver.close()  # no last word to a server that may be away

    def _suspect(self, *_what: object) -> None:
        self._lost = True

    def _retake(self) -> None:
        """Take the lock again, unless it was not lost, or another has it: then the signature will tell."""
        self.release()
        self._connection = _detached(self._engine)
        _taken(self._connection)
        self._lost = False


def _detached(engine: sa.Engine) -> sa.Connection:
    """A connection that the pool does not get back."""
    connection = engine.connect()
    connection.detach()
    return connection


def _taken(connection: sa.Connection) -> bool:
    found = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(LOCK)))
    connection.commit()
    return bool(found)


def _told(connection: sa.Connection) -> str:
    """Who signed last."""
    with suppress(sa.exc.DBAPIError, ValueError, KeyError, TypeError):
        found = connection.scalar(sa.select(meta.c.value).where(meta.c.key == OWNER_KEY))
        holder = json.loads(found or "")
        return f"process {holder['pid']} on {holder['host']}"
    return "another chiasm"
