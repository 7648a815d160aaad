"""Conditions on attributes, as OpenAI's vector stores write them.

``{"type": "eq", "key": "year", "value": 2024}`` (also ne, gt, gte, lt, lte, in, nin) and
``{"type": "and"|"or", "filters": […]}``. Something without the attribute satisfies only ``ne`` and ``nin``.
Numbers compare with numbers, strings with strings (by code point), truth values with truth values.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from chiasm.errors import InvalidInput

MAX_DEPTH = 8
MAX_CONDITIONS = 256
MAX_VALUES = 1000
MAX_KEY_CHARS = 64
Operator = Literal["eq", "gt", "gte", "lt", "lte"]
Value = str | int | float | bool
ORDERED = ("gt", "gte", "lt", "lte")
COMPARISONS = ("eq", "ne", *ORDERED, "in", "nin")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The attribute ``key`` <operator> one of ``values``; the opposite if ``negated``."""

    key: str
    operator: Operator
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class Compound:
    """All (``and``) or any (``or``) of the conditions."""

    operator: Literal["and", "or"]
    conditions: tuple["Condition", ...]


Condition = Comparison | Compound


def parse_filter(filters: object) -> Condition:
    """The condition that ``filters`` means.

    Raises:
        InvalidInput: not a filter; the message says where.
    """
    return _condition(filters, "filters", 1, [MAX_CONDITIONS])


def _condition(node: object, param: str, depth: int, budget: list[int]) -> Condition:
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
        return _compound(node, param, depth, budget)
    if kind not in COMPARISONS:
        raise _wrong(
            f"one of {', '.join((*COMPARISONS, 'and', 'or'))}", "已知的过滤类型", kind, f"{param}.type"
        )
    return _comparison(node, str(kind), param)


def _compound(node: Mapping[Any, Any], param: str, depth: int, budget: list[int]) -> Compound:
    inner = node.get("filters")
    if not isinstance(inner, Sequence) or isinstance(inner, str) or not inner:
        raise _wrong("a list of at least one filter", "至少一个过滤条件的列表", inner, f"{param}.filters")
    conditions = tuple(
        _condition(one, f"{param}.filters[{i}]", depth + 1, budget) for i, one in enumerate(inner)
    )
    return Compound(operator=node["type"], conditions=conditions)


def _comparison(node: Mapping[Any, Any], kind: str, param: str) -> Comparison:
    key, value = node.get("key"), node.get("value")
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARS or '"' in key or "\\" in key:
        raise _wrong("an attribute's name", "属性名", key, f"{param}.key")
    if kind in {"in", "nin"}:
        if not isinstance(value, list | tuple) or len(value) > MAX_VALUES:
            raise _wrong(
                f"a list of at most {MAX_VALUES} values",
                f"最多 {MAX_VALUES} 个值的列表",
                value,
                f"{param}.value",
            )
        values = tuple(_value(one, f"{param}.value[{i}]") for i, one in enumerate(value))
        return Comparison(key=key, operator="eq", values=values, negated=kind == "nin")
    if kind in {"eq", "ne"}:
        values = (_value(value, f"{param}.value"),)
        return Comparison(key=key, operator="eq", values=values, negated=kind == "ne")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong("a number or a string", "数字或字符串", value, f"{param}.value")
    return Comparison(key=key, operator=cast(Operator, kind), values=(_value(value, f"{param}.value"),))


def _value(value: object, param: str) -> Value:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    raise _wrong("a string, a finite number or a truth value", "字符串、有限数或真假值", value, param)


def _wrong(en: str, zh: str, got: object, param: str) -> InvalidInput:
    shown = repr(got)[:80]
    return InvalidInput(f"expected {en}, got {shown}", f"应为{zh}，实际为 {shown}", param=param)
