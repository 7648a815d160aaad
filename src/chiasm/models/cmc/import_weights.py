"""The paper's released checkpoints → ours."""

import pickle
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from chiasm.errors import CheckpointError
from chiasm.models.renaming import Rule, rename

_SIDES = (("l_to_ab", "l"), ("ab_to_l", "ab"))
_RULES: tuple[Rule, ...] = tuple(
    rule
    for theirs, ours in _SIDES
    for rule in (
        *(
            (rf"{theirs}\.conv_block_{n + 1}\.(0|1)\.(.+)", rf"encoders.{ours}.convolutions.{n}.\1.\2")
            for n in range(5)
        ),
        *((rf"{theirs}\.fc{n + 6}\.(0|1)\.(.+)", rf"encoders.{ours}.hidden.{n}.\1.\2") for n in range(2)),
        (rf"{theirs}\.fc8\.0\.(weight|bias)", rf"encoders.{ours}.project.\1"),
    )
)


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename every tensor of both encoders."""
    bare = {name.removeprefix("encoder.").removeprefix("module."): tensor for name, tensor in state.items()}
    return rename(bare, _RULES)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The encoders' tensors by our names. The file is a pickle: but for tensors and the options of training,
    which are thrown away, nothing in it is made.

    Raises:
        CheckpointError: not such a file, or a pickle of anything else.
    """
    try:
        with torch.serialization.safe_globals([Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path.name}: expected a checkpoint of CMC, got: {str(error).splitlines()[0][:200]}",
            f"{path.name}：应为 CMC 的检查点：{str(error).splitlines()[0][:200]}",
            param=path.name,
        ) from None
    state = found.get("model") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"{path.name}: expected a table with `model`, a table of tensors",
            f"{path.name}：应含 model，即张量的表",
            param=path.name,
        )
    return convert(state)
