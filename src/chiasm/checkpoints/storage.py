"""Tensors on disk: big matrices (1 x 1 convolutions too) as int8 with a scale a row, vectors in full, the
rest in half precision."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from chiasm.errors import CheckpointError
from chiasm.nn.quantised import dequantise, quantise

SCALE = ":scale"
LEAST_SIDE = 64
M = TypeVar("M", bound=nn.Module)
_UNSTORED = "num_batches_tracked"  # counts training steps; nothing at inference reads it


def stored_names(state: Mapping[str, Tensor]) -> list[str]:
    """The tensors of a state that a checkpoint holds."""
    return [name for name in state if not name.endswith(_UNSTORED)]


def write_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state as it is stored.

    Raises:
        CheckpointError: a tensor with values that are not finite in storage.
    """
    stored: dict[str, Tensor] = {}
    for name in stored_names(state):
        value = state[name].detach().to("cpu", torch.float32)
        if is_quantised(value):
            stored[name], stored[name + SCALE] = quantise(_rows(value))
            probe = stored[name + SCALE]
        else:
            # Vectors weigh nothing, and a variance of 1e-9 or of 1e6 has no place in half precision.
            stored[name] = probe = value.clone() if value.ndim < 2 else value.half()
        if not probe.isfinite().all():
            raise CheckpointError(
                f"{name}: expected finite values, got NaN, infinity or more than half precision holds",
                f"{name}：应为有限值，实际含有 NaN、无穷大或超出半精度范围的值",
                param=name,
            )
    path.write_bytes(save({name: value.contiguous() for name, value in stored.items()}))


def is_quantised(value: Tensor) -> bool:
    """Whether a tensor of this shape is stored as int8."""
    value = _rows(value)
    columns = value.shape[-1] if value.ndim in (2, 3) else 0
    return columns >= LEAST_SIDE and value.numel() // columns >= LEAST_SIDE


def _rows(value: Tensor) -> Tensor:
    """A 1 x 1 convolution is a matrix: [out, in, 1, 1] → [out, in]; anything else as it is."""
    return value.flatten(1) if value.ndim == 4 and value.shape[2:] == (1, 1) else value


def read_weights(path: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state in float32, one tensor at a time, so that both forms of only one are held.

    Args:
        path: a file of :func:`write_weights`.
        like: the state of the model (on the meta device is enough), for names and shapes.

    Raises:
        CheckpointError: naming tensors that are missing, too many, or of another shape or type.
    """
    wanted = {name: like[name] for name in stored_names(like)}
    expected = {*wanted, *(name + SCALE for name, value in wanted.items() if is_quantised(value))}
    state = {
        name: torch.zeros(value.shape, dtype=value.dtype)
        for name, value in like.items()
        if name not in wanted
    }
    try:
        with safe_open(path, framework="pt") as file:
            compare_names(expected, set(file.keys()))
            for name, value in wanted.items():
                rows = _rows(value) if is_quantised(value) else value
                tensor = _checked(name, file.get_tensor(name), rows)
                if is_quantised(value):
                    scale = file.get_tensor(name + SCALE)
                    tensor = dequantise(tensor, _checked(name + SCALE, scale, rows[..., 0]))
                # a copy always: a view would keep the whole file in memory
                state[name] = tensor.to(torch.float32, copy=tensor.dtype == torch.float32).reshape(
                    value.shape
                )
    except SafetensorError as error:
        raise CheckpointError(
            f"{path.name}: expected safetensors, got: {error}",
            f"{path.name}：应为 safetensors：{error}",
            param=path.name,
        ) from error
    return state


def compare_names(expected: set[str], found: set[str]) -> None:
    """Raises CheckpointError, naming tensors that are missing or too many."""
    missing, extra = sorted(expected - found), sorted(found - expected)
    if missing:
        raise CheckpointError(
            f"expected the tensors {_some(missing)}, which are missing",
            f"缺少张量 {_some(missing)}",
            param=missing[0],
        )
    if extra:
        raise CheckpointError(
            f"expected no tensors but the model's, got {_some(extra)} too",
            f"多出张量 {_some(extra)}",
            param=extra[0],
        )


def _some(names: list[str]) -> str:
    rest = f" (+{len(names) - 5})" if len(names) > 5 else ""
    return ", ".join(names[:5]) + rest


def _checked(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor, if its shape and type are those that this place is stored with."""
    if name.endswith(SCALE):
        kind = torch.float16
    elif is_quantised(like):
        kind = torch.int8
    else:
        kind = torch.float32 if like.ndim < 2 else torch.float16
    if tensor.shape != like.shape or tensor.dtype != kind:
        raise CheckpointError(
            f"{name}: expected {kind} {list(like.shape)}, got {tensor.dtype} {list(tensor.shape)}",
            f"{name}：应为 {kind} {list(like.shape)}，实际为 {tensor.dtype} {list(tensor.shape)}",
            param=name,
        )
    return tensor


def fill(module: M, state: Mapping[str, Tensor]) -> M:
    """An empty module with these tensors as its own.

    Raises:
        CheckpointError: naming tensors that are missing, too many, or of another shape.
    """
    like = module.state_dict()
    compare_names(set(like), set(state))
    for name, tensor in state.items():
        if tensor.shape != like[name].shape:
            raise CheckpointError(
                f"{name}: expected {list(like[name].shape)}, got {list(tensor.shape)}",
                f"{name}：形状应为 {list(like[name].shape)}，实际为 {list(tensor.shape)}",
                param=name,
            )
    module.load_state_dict(dict(state), assign=True)
    return module
