"""Reading out what was attended.

Attention layers ask :func:`active_recorder` whether somebody looks. Nobody does in normal service, and
then fused kernels run that never form the weights; inside ``with record() as recorder:`` the explicit
weights are formed and kept under the layer's name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(slots=True)
class Recorder:
    """Attention weights in the order in which they were computed.

    ``weights[i]`` is ``(layer name, alpha)`` with alpha ``[b, h, queries, keys]``, rows summing to 1.
    With ``gradients``, what is computed from an alpha can be differentiated by it, though no parameter asks
    for gradients.
    """

    names: dict[int, str] = field(default_factory=dict)
    weights: list[tuple[str, Tensor]] = field(default_factory=list)
    gradients: bool = False
    _by_layer: dict[int, list[Tensor]] = field(default_factory=dict)

    def add(self, layer: nn.Module, alpha: Tensor) -> None:
        """Keep the weights of one call of ``layer``."""
        if self.gradients and torch.is_grad_enabled() and not alpha.requires_grad:
            alpha.requires_grad_()
        self.weights.append((self.names.get(id(layer), type(layer).__name__), alpha))
        self._by_layer.setdefault(id(layer), []).append(alpha)

    def of(self, layer: nn.Module) -> Tensor:
        """The weights of the only call of ``layer``.

        Raises:
            ValueError: it was not called, or several times.
        """
        found = self._by_layer.get(id(layer), [])
        if len(found) != 1:
            name = self.names.get(id(layer), type(layer).__name__)
            raise ValueError(f"expected one call of {name} to have been recorded, got {len(found)}")
        return found[0]


_active: ContextVar[Recorder | None] = ContextVar("chiasm_attention_recorder", default=None)


def active_recorder() -> Recorder | None:
    """The recorder of the surrounding ``record()`` block of this thread, if any."""
    return _active.get()


@contextmanager
def record(model: nn.Module | None = None, *, gradients: bool = False) -> Iterator[Recorder]:
    """Record all attention inside the block.

    Args:
        model: gives the layers their dotted names.
        gradients: make the weights differentiable, see :class:`Recorder`.
    """
    names = {} if model is None else {id(module): name for name, module in model.named_modules()}
    recorder = Recorder(names=names, gradients=gradients)
    token = _active.set(recorder)
    try:
        yield recorder
    finally:
        _active.reset(token)
