"""What may be written on a file, a store or an item."""

import math
from collections.abc import Mapping
from typing import Any

from chiasm.errors import InvalidInput
from chiasm.stores.records import MAX_ATTRIBUTES, Attribute

MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 512


def checked_attributes(
    attributes: Mapping[str, Any] | None, param: str = "attributes"
) -> dict[str, Attribute]:
    """The attributes, if they are ones: as OpenAI has it, at most 16, with keys of at most 64 characters and
    values that are strings of at most 512 characters, finite numbers or truth values.

    Raises:
        InvalidInput: they are not.
    """
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping) or len(attributes) > MAX_ATTRIBUTES:
        raise _wrong(
            f"at most {MAX_ATTRIBUTES} attributes", f"至多 {MAX_ATTRIBUTES} 个属性", attributes, param
        )
    for key, value in attributes.items():
        if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARS or '"' in key or "\\" in key:
            raise _wrong(
                f'keys of 1 to {MAX_KEY_CHARS} characters without " and \\',
                f'1 至 {MAX_KEY_CHARS} 个字符、不含 " 与 \\ 的键',
                key,
                param,
            )
        if not _is_value(value):
            raise _wrong(
                f"a string of at most {MAX_VALUE_CHARS} characters, a finite number or a truth value",
                f"至多 {MAX_VALUE_CHARS} 字的字符串、有限数或真假值",
                value,
                f"{param}.{key}",
            )
    return dict(attributes)


def _is_value(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_VALUE_CHARS
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < 2**63


def _wrong(en: str, zh: str, got: object, param: str) -> InvalidInput:
    shown = repr(got)[:80]
    return InvalidInput(f"expected {en}, got {shown}", f"应为{zh}，实际为 {shown}", param=param)
