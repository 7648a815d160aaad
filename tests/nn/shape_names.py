"""The axes in a name, checked at run time: ``x_btd`` has three, and its b is the b of ``mask_bt``."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

AXES = frozenset("bthsdpfvcwmn")
SHARED = frozenset("btspf")
"""Axes that one call has but one of. Widths (c, d, …) may differ from one input to the other."""


def axes_of(name: str) -> str | None:
    """``"btd"`` of ``x_btd``; nothing if the name does not end in axes."""
    _, _, suffix = name.rpartition("_")
    return suffix if "_" in name and suffix and set(suffix) <= AXES else None


def check(where: str, values: dict[str, Any]) -> None:
    """Compare the shapes of tensors with what their names say."""
    sizes: dict[str, int] = {}
    for name, value in values.items():
        axes = axes_of(name)
        if axes is None or not isinstance(value, Tensor):
            continue
        assert value.dim() == len(axes), f"{where}: {name} has the shape {list(value.shape)}"
        for axis, size in zip(axes, value.shape, strict=True):
            if axis in SHARED:
                assert sizes.setdefault(axis, size) == size, (
                    f"{where}: {name} has {axis} = {size}, not {sizes}"
                )


@contextmanager
def checked_shapes() -> Iterator[None]:
    """Inside the block, every call of a module of ours is checked."""

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        if type(module).__module__.startswith("chiasm."):
            bound = inspect.signature(module.forward).bind_partial(*args)
            check(type(module).__name__, bound.arguments)

    handle = register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()
