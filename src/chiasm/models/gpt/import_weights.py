"""Published GPT-2s (the Hugging Face layout) → ours: theirs multiply from the right, three maps in one."""

from collections.abc import Mapping

import torch
from torch import Tensor

from chiasm.models.renaming import Rule, inverted, rename

_RULES: tuple[Rule, ...] = (
    (r"wte\.weight", "token.weight"),
    (r"wpe\.weight", "position.weight"),
    (r"ln_f\.(weight|bias)", r"encoder.norm.\1"),
    *(
        (rf"h\.(\d+)\.{theirs}\.(weight|bias)", rf"encoder.blocks.\1.{ours}.\2")
        for theirs, ours in (
            (r"attn\.query", "attention.query"),
            (r"attn\.key", "attention.key"),
            (r"attn\.value", "attention.value"),
            (r"attn\.c_proj", "attention.output"),
            ("ln_1", "attention_norm"),
            ("ln_2", "feed_forward_norm"),
            (r"mlp\.c_fc", "feed_forward.expand"),
            (r"mlp\.c_proj", "feed_forward.contract"),
        )
    ),
)
_TRANSPOSED = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
_UNUSED = (r"h\.\d+\.attn\.(masked_)?bias", r"lm_head\.weight")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename, transpose and split every tensor; the output layer is the token embedding."""
    apart: dict[str, Tensor] = {}
    for full, tensor in state.items():
        name = full.removeprefix("transformer.")
        if name.endswith(_TRANSPOSED):
            tensor = tensor.T.contiguous()  # noqa: PLW2901
        if ".attn.c_attn." in name:
            for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                apart[name.replace("c_attn", part)] = rows
        else:
            apart[name] = tensor
    return rename(apart, _RULES, _UNUSED)


def export(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by their published names: transposed, and three maps in one."""
    renamed = rename(state, inverted(_RULES))
    for name in [name for name in renamed if ".attn.query." in name]:
        parts = [renamed.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        renamed[name.replace("query", "c_attn")] = torch.cat(parts)
    return {
        f"transformer.{name}": tensor.T if name.endswith(_TRANSPOSED) else tensor
        for name, tensor in renamed.items()
    }
