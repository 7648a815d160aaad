"""The same numbers, sooner on a CPU: linear maps whose weights lie as oneDNN reads them, activation fused.

Without this the weights are brought into that order at every call, and an activation walks over a large
result again: between the linear maps of a feed-forward layer that takes as long as half a map.
"""

from typing import Literal, Protocol, TypeGuard, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.nn.attention import MultiHeadAttention
from chiasm.nn.blocks import Activation, FeedForward

QUICK = 1.702
# ours → the operator's name of it, and its variant
FUSED: dict[str, tuple[str, str]] = {
    "silu": ("swish", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "quick_gelu": ("swish", ""),
    "relu": ("relu", ""),
}
LEAST_WIDTH = 64  # smaller maps are not worth it
KINDS = (torch.float32, torch.bfloat16)


class PackedLinear(nn.Module):
    """``activation(x·Wᵀ + b)`` with the weights in oneDNN's own order. For inference, and for gradients by x,
    which are no faster than elsewhere.

    Args:
        weight: ``[out, in]``, float32 or bfloat16, on the CPU.
        activation: ``silu`` besides those of blocks.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, activation: Activation | Literal["silu"] | None = None
    ) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)
        self.bias = None if bias is None else bias.detach()
        self.activation = activation
        self.fused, self.variant = ("none", "") if activation is None else FUSED[activation]

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in]`` → ``[..., out]``."""
        if torch.is_grad_enabled() and x.requires_grad:  # the operator knows no derivative
            y = F.linear(x, self.weight.to_dense(), self.bias)
            return y if self.activation is None else _plain(y, self.fused, self.variant)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, self.fused, [], self.variant
        )
        return out


def _plain(y: Tensor, fused: str, variant: str) -> Tensor:
    if fused == "gelu":
        return F.gelu(y, approximate=variant)
    return F.silu(y) if fused == "swish" else F.relu(y)


@runtime_checkable
class Packs(Protocol):
    """A layer that knows how its own maps are packed."""

    def pack(self) -> None:
        """Replace those that :func:`worth_packing`."""


def pack(model: nn.Module) -> None:
    """Pack the linear maps of all attention and feed-forward layers, in place; afterwards the model can
    neither be trained nor saved. Layers of other kinds do it by themselves (:class:`Packs`). Does nothing
    on other devices, in other precisions, or twice.
    """
    for module in list(model.modules()):
        if (
            isinstance(module, FeedForward)
            and worth_packing(module.expand)
            and worth_packing(module.contract)
        ):
            _pack_feed_forward(module, module.expand, module.contract)
        elif isinstance(module, MultiHeadAttention) and worth_packing(module.query):
            _pack_attention(module)
        elif isinstance(module, Packs):
            module.pack()


def packed_tensors(module: nn.Module) -> list[Tensor]:
    """Those of a packed layer, which are neither parameters nor buffers."""
    return [module.weight] if isinstance(module, PackedLinear) else []


def _pack_feed_forward(layer: FeedForward, expand: nn.Linear, contract: nn.Linear) -> None:
    scale = QUICK if layer.activation == "quick_gelu" else 1.0  # x·σ(a·x) is swish(a·x) / a
    bias = None if expand.bias is None else expand.bias * scale
    layer.expand = PackedLinear(expand.weight * scale, bias, layer.activation)
    layer.contract = PackedLinear(contract.weight / scale, contract.bias)
    layer.activation = None


def _pack_attention(layer: MultiHeadAttention) -> None:
    maps = [layer.query, layer.key, layer.value]
    if len({linear.in_features for linear in maps}) == 1:
        bias = None if layer.query.bias is None else torch.cat([linear.bias for linear in maps])
        layer.joined = PackedLinear(torch.cat([linear.weight for linear in maps]), bias)
    for name in ("query", "key", "value", "output"):
        linear = getattr(layer, name)
        setattr(layer, name, PackedLinear(linear.weight, linear.bias))


def worth_packing(linear: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether this is a linear map that packing makes faster here."""
    return (
        isinstance(linear, nn.Linear)
        and linear.weight.device.type == "cpu"
        and linear.weight.dtype in KINDS
        and min(linear.weight.shape) >= LEAST_WIDTH
        and _available()
    )


def _available() -> bool:
    """Whether this build of torch has the operators (they are its compiler's, not its public interface)."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    known: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return known and all(hasattr(torch.ops.mkldnn, name) for name in names)
