"""Published BERT weights (the Hugging Face layout) → ours."""

import re
from collections.abc import Mapping

from torch import Tensor

_TOP = {
    "embeddings.word_embeddings.": "token.",
    "embeddings.position_embeddings.": "position.",
    "embeddings.token_type_embeddings.": "token_type.",
    "embeddings.LayerNorm.": "norm.",
}
_INSIDE = {
    "attention.self.query.": "attention.query.",
    "attention.self.key.": "attention.key.",
    "attention.self.value.": "attention.value.",
    "attention.output.dense.": "attention.output.",
    "attention.output.LayerNorm.": "attention_norm.",
    "intermediate.dense.": "feed_forward.expand.",
    "output.dense.": "feed_forward.contract.",
    "output.LayerNorm.": "feed_forward_norm.",
}
_UNUSED = ("pooler.", "embeddings.position_ids", "cls.", "lm_head.")


def convert(state: Mapping[str, Tensor], unused_positions: int = 0) -> dict[str, Tensor]:
    """Rename every tensor of a BERT or RoBERTa; the pooler and the pre-training heads are left out.

    Args:
        unused_positions: rows at the beginning of the table of positions that are left out, too.
    """
    renamed: dict[str, Tensor] = {}
    for full, value in state.items():
        key = full.removeprefix("bert.").removeprefix("roberta.")
        if key.startswith(_UNUSED):
            continue
        match = re.match(r"encoder\.layer\.(\d+)\.(.+)", key)
        table, prefix, rest = (
            (_TOP, "", key) if match is None else (_INSIDE, f"encoder.blocks.{match[1]}.", match[2])
        )
        start = next((name for name in table if rest.startswith(name)), None)
        if start is None:
            renamed[full] = value  # whoever compares names will say so
            continue
        renamed[prefix + table[start] + rest.removeprefix(start)] = value
    if unused_positions and "position.weight" in renamed:
        renamed["position.weight"] = renamed["position.weight"][unused_positions:]
    return renamed


def export(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by their published names."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        match = re.match(r"encoder\.blocks\.(\d+)\.(.+)", name)
        table, prefix, rest = (
            (_TOP, "", name) if match is None else (_INSIDE, f"encoder.layer.{match[1]}.", match[2])
        )
        theirs, ours = next((theirs, ours) for theirs, ours in table.items() if rest.startswith(ours))
        renamed[prefix + theirs + rest.removeprefix(ours)] = value
    return renamed
