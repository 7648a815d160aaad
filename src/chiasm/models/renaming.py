"""Names of published tensors → ours."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

Rule = tuple[str, str]
"""A pattern that matches a whole name, and what it becomes."""

HUGGING_FACE_BLOCK: Sequence[Rule] = tuple(
    (rf"(.*)encoder\.layers\.(\d+)\.{theirs}\.(weight|bias)", rf"\1encoder.blocks.\2.{ours}.\3")
    for theirs, ours in (
        (r"self_attn\.q_proj", "attention.query"),
        (r"self_attn\.k_proj", "attention.key"),
        (r"self_attn\.v_proj", "attention.value"),
        (r"self_attn\.out_proj", "attention.output"),
        (r"layer_norm1", "attention_norm"),
        (r"layer_norm2", "feed_forward_norm"),
        (r"mlp\.fc1", "feed_forward.expand"),
        (r"mlp\.fc2", "feed_forward.contract"),
    )
)
"""A block as CLIP, SigLIP and others spell it in the Hugging Face layout."""


def rename(
    state: Mapping[str, Tensor], rules: Sequence[Rule], unused: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Each tensor by the first rule that matches; names that match none stay, and are found to be extra.

    Args:
        unused: patterns of what is left out.
    """
    compiled = [(re.compile(pattern), ours) for pattern, ours in rules]
    left_out = [re.compile(pattern) for pattern in unused]
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if any(pattern.fullmatch(name) for pattern in left_out):
            continue
        found = next((p.sub(ours, name) for p, ours in compiled if p.fullmatch(name)), name)
        renamed[found] = tensor
    return renamed


_GROUP = re.compile(r"\((?!\?)[^()]*\)")


def inverted(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The same rules from our names to theirs, for patterns whose groups hold no groups."""
    backwards = []
    for theirs, ours in rules:
        groups = _GROUP.findall(theirs)
        pattern, name = re.escape(ours), theirs.replace(r"\.", ".")
        for number, group in enumerate(groups, 1):
            pattern = pattern.replace(re.escape(rf"\{number}"), group)
            name = name.replace(group.replace(r"\.", "."), rf"\{number}", 1)
        backwards.append((pattern, name))
    return tuple(backwards)


def split_packed(state: Mapping[str, Tensor], packed: str) -> dict[str, Tensor]:
    """``….in_proj_weight`` of torch's own attention, three maps in one, as query, key and value.

    Args:
        packed: pattern of the name before ``in_proj_``; its place is kept.
    """
    pattern = re.compile(rf"({packed})in_proj_(weight|bias)")
    apart: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = pattern.fullmatch(name)
        if match is None:
            apart[name] = tensor
            continue
        for part, rows in zip(("q", "k", "v"), tensor.chunk(3), strict=True):
            apart[f"{match[1]}{part}_proj.{match[2]}"] = rows
    return apart
