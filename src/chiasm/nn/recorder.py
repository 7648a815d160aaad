"""Reading out what was attended.

Attention layers ask :func:`active_recorder` whether somebody looks. Nobody does in normal service, and
then fused kernels run that never form the weights; inside ``with record() as recorder:`` the explicit
weights are formed and kept under the layer's name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(slots=True)
class Recorder:
    """Attention weights in the order in which they were computed.

    ``weights[i]`` is ``(layer name, alpha)`` with alpha ``[b, h, queries, keys]``, rows summing to 1.
    Gradients flow through them, so that relevance methods can ask for ``alpha.grad``.
    """

    names: dict[int, str] = field(default_factory=dict)
    weights: list[tuple[str, Tensor]] = field(default_factory=list)

    def add(self, layer: nn.Module, alpha: Tensor) -> None:
        """Keep the weights of one call of ``layer``."""
        self.weights.append((self.names.get(id(layer), type(layer).__name__), alpha))


_active: ContextVar[Recorder | None] = ContextVar("chiasm_attention_recorder", default=None)


def active_recorder() -> Recorder | None:
    """The recorder of the surrounding ``record()`` block of this thread, if any."""
    return _active.get()


@contextmanager
def record(model: nn.Module | None = None) -> Iterator[Recorder]:
    """Record all attention inside the block; ``model`` gives the layers their dotted names."""
    names = {} if model is None else {id(module): name for name, module in model.named_modules()}
    recorder = Recorder(names=names)
    token = _active.set(recorder)
    try:
        yield recorder
    finally:
        _active.reset(token)
