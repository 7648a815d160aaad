"""A model without numbers: names and shapes of what a config makes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from chiasm.models.mini.config import MiniConfig
from chiasm.models.mini.model import ChiasmMini


def skeleton(config: MiniConfig) -> ChiasmMini:
    """The model on the meta device, which takes no memory; ``load_state_dict(…, assign=True)`` fills it."""
    with torch.device("meta"), _Uninitialised():
        return ChiasmMini(config)


class _Uninitialised(TorchFunctionMode):
    """Fills in no numbers: on the meta device they are nothing, but to make some of them torch imports its
    compiler and sympy, which takes seconds, and 70 MB for good."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else named["tensor"]
        if func in (torch.rand, torch.randn):
            return torch.empty(*args, **named)
        if func is torch.linspace:
            return torch.empty(args[2])
        if func is torch.Tensor.mul and isinstance(args[1], float):  # the spread of random numbers
            return args[0]
        return func(*args, **named)
