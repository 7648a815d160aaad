"""Published Whispers (the Hugging Face layout) → ours: their keys have no bias, ours one of zeros."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from chiasm.models.renaming import Rule, rename

_RULES: tuple[Rule, ...] = (
    (r"encoder\.conv1\.(weight|bias)", r"stem.first.\1"),
    (r"encoder\.conv2\.(weight|bias)", r"stem.second.\1"),
    (r"encoder\.embed_positions\.weight", "position"),
    (r"decoder\.embed_tokens\.weight", "decoder.token.weight"),
    (r"decoder\.embed_positions\.weight", "decoder.position.weight"),
    (r"encoder\.layer_norm\.(weight|bias)", r"encoder.norm.\1"),
    (r"decoder\.layer_norm\.(weight|bias)", r"decoder.norm.\1"),
    *(
        (rf"(encoder|decoder)\.layers\.(\d+)\.{theirs}", rf"\1.blocks.\2.{ours}")
        for side, own in ((r"self_attn", "attention"), (r"encoder_attn", "cross"))
        for theirs, ours in (
            (rf"{side}\.q_proj\.(weight|bias)", rf"{own}.query.\3"),
            (rf"{side}\.k_proj\.(weight)", rf"{own}.key.\3"),
            (rf"{side}\.v_proj\.(weight|bias)", rf"{own}.value.\3"),
            (rf"{side}\.out_proj\.(weight|bias)", rf"{own}.output.\3"),
            (rf"{side}_layer_norm\.(weight|bias)", rf"{own}_norm.\3"),
        )
    ),
    *(
        (rf"(encoder|decoder)\.layers\.(\d+)\.{theirs}\.(weight|bias)", rf"\1.blocks.\2.{ours}.\3")
        for theirs, ours in (
            ("final_layer_norm", "feed_forward_norm"),
            ("fc1", "feed_forward.expand"),
            ("fc2", "feed_forward.contract"),
        )
    ),
)


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename every tensor; the output layer is the token embedding."""
    renamed = rename(
        {name.removeprefix("model."): tensor for name, tensor in state.items()},
        _RULES,
        (r"proj_out\.weight",),
    )
    for name, tensor in list(renamed.items()):
        match = re.fullmatch(r"(.*\.(?:attention|cross)\.)(?:query|value)\.bias", name)
        if match is not None:
            renamed.setdefault(f"{match[1]}key.bias", torch.zeros_like(tensor))
    return renamed
