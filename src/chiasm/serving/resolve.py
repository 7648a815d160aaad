"""``module:function`` as text, because processes are started with text."""

import importlib
from collections.abc import Callable
from typing import Any

from chiasm.errors import SettingsError


def resolve(target: str) -> Callable[..., Any]:
    """The function that ``package.module:name`` names.

    Raises:
        SettingsError: no such module or function.
    """
    module_name, _, name = target.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"expected module:function, got {target!r}: {error}",
            f"应为 module:function，实际为 {target!r}：{error}",
            param=target,
        ) from error
    if not callable(function):
        raise SettingsError(f"expected {target!r} to be a function", f"{target!r} 应为函数", param=target)
    return function  # type: ignore[no-any-return]
