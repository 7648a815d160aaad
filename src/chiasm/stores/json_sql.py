"""One value of a JSON object as SQL, for SQLite and PostgreSQL: what kind it is, and itself as that kind."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class kind(FunctionElement[Any]):  # noqa: N801  # reads as the SQL function that it is
    """``none``, ``true``, ``false``, ``number``, ``text`` or something else; never NULL."""

    type: sa.types.TypeEngine[Any] = sa.Text()
    inherit_cache = True

    def __init__(self, column: sa.ColumnElement[Any], key: str) -> None:
        super().__init__(column, sa.literal(key, sa.Text))


class number(kind):  # noqa: N801
    """The value, if it is a number, else NULL."""

    type = sa.Numeric(asdecimal=False)
    inherit_cache = True


class text(kind):  # noqa: N801
    """The value, if it is a string, else NULL; compared by code points."""

    inherit_cache = True


@compiles(kind, "sqlite")
def _sqlite_kind(element: kind, compiler: Any, **how: Any) -> str:
    found = f"json_type({_sqlite(element, compiler, how)})"
    numbers = "WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number'"
    return f"CASE {found} {numbers} ELSE coalesce({found}, 'none') END"


@compiles(number, "sqlite")
@compiles(text, "sqlite")
def _sqlite_value(element: kind, compiler: Any, **how: Any) -> str:
    return f"json_extract({_sqlite(element, compiler, how)})"


def _sqlite(element: kind, compiler: Any, how: dict[str, Any]) -> str:
    column, key = (compiler.process(clause, **how) for clause in element.clauses)
    return f"""{column}, '$."' || {key} || '"'"""


@compiles(kind, "postgresql")
def _postgresql_kind(element: kind, compiler: Any, **how: Any) -> str:
    column, key = _postgresql(element, compiler, how)
    found = f"jsonb_typeof({column} -> {key})"
    return (
        f"CASE {found} WHEN 'boolean' THEN {column} ->> {key} WHEN 'string' THEN 'text' "
        f"ELSE coalesce({found}, 'none') END"
    )


@compiles(number, "postgresql")
def _postgresql_number(element: kind, compiler: Any, **how: Any) -> str:
    column, key = _postgresql(element, compiler, how)
    return f"CASE jsonb_typeof({column} -> {key}) WHEN 'number' THEN ({column} ->> {key})::numeric END"


@compiles(text, "postgresql")
def _postgresql_text(element: kind, compiler: Any, **how: Any) -> str:
    column, key = _postgresql(element, compiler, how)
    return f'(({column} ->> {key}) COLLATE "C")'


def _postgresql(element: kind, compiler: Any, how: dict[str, Any]) -> tuple[str, str]:
    column, key = (compiler.process(clause, **how) for clause in element.clauses)
    return column, key
