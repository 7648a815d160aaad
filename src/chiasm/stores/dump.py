"""The tables as JSON lines, and back: the same from SQLite and from PostgreSQL, so that either can read it.

The first line says what it is; then come a line for each table with its columns and a line for each row of
it, and a last line with the number of rows, without which the file is not whole.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from chiasm.errors import StoreError
from chiasm.stores import migrations
from chiasm.stores.schema import meta, tables

FORMAT = 1
ROWS_AT_ONCE = 1000
_OWN = frozenset({"owner"})  # rows of ``meta`` that belong to a server, not to its library


class Out(Protocol):
    """Anything that bytes can be written to."""

    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Dumped:
    """What a dump holds."""

    library: str
    schema: int
    rows: int


def write(connection: sa.Connection, out: Out) -> Dumped:
    """Everything that this transaction sees. Works for older versions, too."""
    version = migrations.version_of(connection) or 0
    library = migrations.library_of(connection)
    _line(out, {"format": FORMAT, "schema": version, "library": library})
    rows = 0
    present = sa.MetaData()
    present.reflect(connection, only=lambda name, _: name in tables.tables)
    for table in tables.sorted_tables:
        # The columns that are there, of the types that we know them by.
        columns = [c for c in table.columns if c.name in present.tables[table.name].columns]
        _line(out, {"table": table.name, "columns": [c.name for c in columns]})
        query = (
            sa.select(*columns).order_by(*table.primary_key.columns).execution_options(yield_per=ROWS_AT_ONCE)
        )
        for row in connection.execute(query):
            if table is not meta or row[0] not in _OWN:
                _line(out, [_plain(value) for value in row])
                rows += 1
    _line(out, {"rows": rows})
    return Dumped(library=library, schema=version, rows=rows)


def load(connection: sa.Connection, lines: Iterable[bytes]) -> Dumped:
    """Put a dump into the tables of a new database.

    Raises:
        StoreError: not a dump, not whole, of a newer version; or there is something in the tables already.
    """
    for table in tables.sorted_tables:
        if table is not meta and connection.scalar(sa.select(sa.func.count()).select_from(table)):
            raise StoreError(
                f"expected an empty database to restore into, got rows in {table.name}",
                f"恢复需要空数据库，实际表 {table.name} 中已有数据",
                code="not_empty",
            )
    try:
        return _load(connection, iter(lines))
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise StoreError(
            f"expected a whole dump of a library, got: {error or 'its end too early'}",
            f"应为完整的资料库转储，实际：{error or '过早结束'}",
            code="damaged_backup",
        ) from error


def _load(connection: sa.Connection, lines: Iterator[bytes]) -> Dumped:
    head = json.loads(next(lines))
    schema = int(head["schema"])
    if head["format"] != FORMAT or not 1 <= schema <= migrations.SCHEMA_VERSION:
        raise StoreError(
            f"expected a backup of schema version {migrations.SCHEMA_VERSION} or older, got {schema} "
            f"(format {head['format']}): use the chiasm that made it",
            f"备份的结构版本应不高于 {migrations.SCHEMA_VERSION}，实际为 {schema}（格式 {head['format']}）；"
            "请使用创建它的 chiasm 版本",
            code="newer_schema",
        )
    connection.execute(sa.delete(meta).where(meta.c.key.not_in(_OWN)))
    rows = 0
    batch: list[dict[str, Any]] = []
    table: sa.Table = meta
    columns: list[sa.Column[Any]] = []
    for line in lines:
        found = json.loads(line)
        if isinstance(found, list):
            batch.append({c.name: _kept(c, value) for c, value in zip(columns, found, strict=True)})
            rows += 1
        if batch and (len(batch) >= ROWS_AT_ONCE or isinstance(found, Mapping)):
            connection.execute(sa.insert(table), batch)
            batch = []
        if isinstance(found, Mapping) and "rows" in found:
            if found["rows"] != rows:
                raise ValueError(f"{rows} rows instead of {found['rows']}")
            _finish(connection, schema)
            return Dumped(library=str(head["library"]), schema=schema, rows=rows)
        if isinstance(found, Mapping):
            table = tables.tables[found["table"]]
            columns = [table.columns[name] for name in found["columns"]]
    raise ValueError("its end too early")


def _finish(connection: sa.Connection, schema: int) -> None:
    """What an insert with ids does not do by itself: the next ids, and the steps that came since."""
    if connection.dialect.name == "postgresql":
        for table in tables.sorted_tables:
            column = table.autoincrement_column
            if column is not None:
                last = sa.select(sa.func.max(column)).scalar_subquery()
                sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
                connection.execute(
                    sa.select(sa.func.setval(sequence, sa.func.coalesce(last, 1), last.is_not(None)))
                )
    migrations.catch_up(connection, schema)


def _line(out: Out, value: object) -> None:
    # Sorted: PostgreSQL does not keep the order of an object's keys.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    out.write(text.encode("utf-8", "surrogatepass") + b"\n")


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value


def _kept(column: sa.Column[Any], value: Any) -> Any:
    binary = isinstance(column.type, sa.LargeBinary) and value is not None
    return base64.b64decode(value, validate=True) if binary else value
