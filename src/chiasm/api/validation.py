"""What a schema refuses, said in our words: which field, what was expected, what came."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from chiasm.errors import InvalidInput

_PLAIN: Mapping[str, tuple[str, str]] = {
    "string_type": ("a string", "字符串"),
    "int_type": ("a whole number", "整数"),
    "int_from_float": ("a whole number", "整数"),
    "float_type": ("a number", "数字"),
    "finite_number": ("a finite number", "有限数"),
    "bool_type": ("true or false", "true 或 false"),
    "list_type": ("a list", "列表"),
    "dict_type": ("an object", "对象"),
    "model_type": ("an object", "对象"),
    "model_attributes_type": ("an object", "对象"),
}


def invalid(error: ValidationError) -> InvalidInput:
    """The first complaint of a schema as an error of ours; missing fields come last."""
    details = sorted(error.errors(include_url=False), key=lambda found: found["type"] == "missing")
    return _complaint(details[0])


def path_of(location: tuple[int | str, ...]) -> str:
    """``("input", 3, "image_url")`` → ``input[3].image_url``."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def shown(value: Any) -> str:
    """A value as an error message shows it: short."""
    if isinstance(value, dict):
        return "an object"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def expected(en: str, zh: str, got: Any, param: str, *, code: str | None = None) -> InvalidInput:
    """``expected …, got …`` about ``param``."""
    return InvalidInput(
        f"expected {en}, got {shown(got)}", f"应为{zh}，实际为 {shown(got)}", param=param, code=code
    )


def missing(param: str) -> InvalidInput:
    """A field that must be there is not."""
    return InvalidInput("this field is required", "缺少此字段", param=param, code="missing_field")


def unknown(param: str, known: str) -> InvalidInput:
    """A field nobody documents."""
    return InvalidInput(
        f"there is no such field; expected {known}",
        f"没有此字段；可用的有 {known}",
        param=param,
        code="unknown_field",
    )


def _complaint(found: ErrorDetails) -> InvalidInput:
    kind, limits, got = found["type"], found.get("ctx", {}), found["input"]
    param = path_of(tuple(step for step in found["loc"] if step != "[key]"))
    if kind == "missing":
        return missing(param)
    if kind == "extra_forbidden":
        return InvalidInput("there is no such field", "没有此字段", param=param, code="unknown_field")
    if kind in _PLAIN:
        return expected(*_PLAIN[kind], got, param)
    bounds = _bounds(kind, limits)
    if bounds:
        shown_got = len(got) if kind.endswith(("_long", "_short")) else got
        return expected(*bounds, shown_got, param)
    return InvalidInput(f"{found['msg']}, got {shown(got)}", f"取值无效：{shown(got)}", param=param)


def _bounds(kind: str, limits: Mapping[str, Any]) -> tuple[str, str] | None:
    match kind:
        case "literal_error":
            return f"one of {limits['expected']}", f" {limits['expected']} 之一"
        case "greater_than_equal":
            return f"at least {limits['ge']}", f"不小于 {limits['ge']} 的数"
        case "less_than_equal":
            return f"at most {limits['le']}", f"不大于 {limits['le']} 的数"
        case "string_too_long":
            return f"at most {limits['max_length']} characters", f"最多 {limits['max_length']} 个字符"
        case "string_too_short":
            return f"at least {limits['min_length']} characters", f"至少 {limits['min_length']} 个字符"
        case "too_long":
            return f"at most {limits['max_length']} entries", f"最多 {limits['max_length']} 项"
        case "too_short":
            return f"at least {limits['min_length']} entries", f"至少 {limits['min_length']} 项"
        case _:
            return None
