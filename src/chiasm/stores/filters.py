"""Conditions on attributes, as OpenAI's vector stores write them, compiled to SQL.

``{"type": "eq", "key": "year", "value": 2024}`` (also ne, gt, gte, lt, lte, in, nin) and
``{"type": "and"|"or", "filters": […]}``. Something without the attribute satisfies only ``ne`` and ``nin``.
Numbers compare with numbers, strings with strings, truth values with truth values.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from chiasm.errors import InvalidInput
from chiasm.stores import json_sql

MAX_DEPTH = 8
MAX_CONDITIONS = 256
ORDERED = {"gt": "__gt__", "gte": "__ge__", "lt": "__lt__", "lte": "__le__"}
COMPARISONS = ("eq", "ne", *ORDERED, "in", "nin")


def compile_filter(filters: object, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """The condition as SQL over a JSON ``column``.

    Raises:
        InvalidInput: not a filter; the message says where.
    """
    budget = [MAX_CONDITIONS]
    return _compile(filters, column, "filters", 1, budget)


def _compile(
    node: object, column: sa.ColumnElement[Any], param: str, depth: int, budget: list[int]
) -> sa.ColumnElement[bool]:
    budget[0] -= 1
    if depth > MAX_DEPTH or budget[0] < 0:
        raise InvalidInput(
            f"expected filters at most {MAX_DEPTH} deep and of at most {MAX_CONDITIONS} conditions, got more",
            f"过滤条件最多嵌套 {MAX_DEPTH} 层、共 {MAX_CONDITIONS} 个，实际超出",
            param=param,
        )
    if not isinstance(node, Mapping):
        raise _wrong("an object with a type", "带有 type 的对象", node, param)
    kind = node.get("type")
    if kind in {"and", "or"}:
        return _compound(node, column, param, depth, budget)
    if kind not in COMPARISONS:
        raise _wrong(
            f"one of {', '.join((*COMPARISONS, 'and', 'or'))}", "已知的过滤类型", kind, f"{param}.type"
        )
    return _comparison(node, str(kind), column, param)


def _compound(
    node: Mapping[Any, Any], column: sa.ColumnElement[Any], param: str, depth: int, budget: list[int]
) -> sa.ColumnElement[bool]:
    inner = node.get("filters")
    if not isinstance(inner, Sequence) or isinstance(inner, str) or not inner:
        raise _wrong("a list of at least one filter", "至少一个过滤条件的列表", inner, f"{param}.filters")
    parts = [_compile(n, column, f"{param}.filters[{i}]", depth + 1, budget) for i, n in enumerate(inner)]
    return sa.and_(*parts) if node["type"] == "and" else sa.or_(*parts)


def _comparison(
    node: Mapping[Any, Any], kind: str, column: sa.ColumnElement[Any], param: str
) -> sa.ColumnElement[bool]:
    key = node.get("key")
    if not isinstance(key, str) or not 1 <= len(key) <= 64 or '"' in key or "\\" in key:
        raise _wrong("an attribute's name", "属性名", key, f"{param}.key")
    value = node.get("value")
    if kind in {"in", "nin"}:
        if not isinstance(value, list | tuple) or len(value) > 1000:
            raise _wrong("a list of at most 1000 values", "最多 1000 个值的列表", value, f"{param}.value")
        any_of = sa.or_(
            sa.false(), *(_equal(column, key, v, f"{param}.value[{i}]") for i, v in enumerate(value))
        )
        return any_of if kind == "in" else sa.not_(any_of)
    if kind in {"eq", "ne"}:
        equal = _equal(column, key, value, f"{param}.value")
        return equal if kind == "eq" else sa.not_(equal)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong("a number or a string", "数字或字符串", value, f"{param}.value")
    return _typed(column, key, value, f"{param}.value", ORDERED[kind])


def _equal(column: sa.ColumnElement[Any], key: str, value: object, param: str) -> sa.ColumnElement[bool]:
    return _typed(column, key, value, param, "__eq__")


def _typed(
    column: sa.ColumnElement[Any], key: str, value: object, param: str, operator: str
) -> sa.ColumnElement[bool]:
    """``column[key] <operator> value`` where the types agree; never NULL, so that it can be negated."""
    kind = json_sql.kind(column, key)
    if isinstance(value, bool):
        return kind == ("true" if value else "false")
    found: sa.ColumnElement[Any]
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) < 2**63:
        wanted, found = "number", json_sql.number(column, key)
    elif isinstance(value, str):
        wanted, found = "text", json_sql.text(column, key)
    else:
        raise _wrong("a string, a finite number or a truth value", "字符串、有限数或真假值", value, param)
    return sa.and_(kind == wanted, sa.func.coalesce(getattr(found, operator)(value), sa.false()))


def _wrong(en: str, zh: str, got: object, param: str) -> InvalidInput:
    shown = repr(got)[:80]
    return InvalidInput(f"expected {en}, got {shown}", f"应为{zh}，实际为 {shown}", param=param)
