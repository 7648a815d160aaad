"""Published ViTs (the Hugging Face layout) → ours."""

from collections.abc import Mapping

from torch import Tensor

from chiasm.models.renaming import Rule, inverted, rename

_BLOCK = (
    (r"attention\.output\.dense", "attention.output"),
    ("layernorm_before", "attention_norm"),
    ("layernorm_after", "feed_forward_norm"),
    (r"intermediate\.dense", "feed_forward.expand"),
    (r"output\.dense", "feed_forward.contract"),
)
_RULES: tuple[Rule, ...] = (
    (r"embeddings\.cls_token", "class_token"),
    (r"embeddings\.position_embeddings", "position"),
    (r"embeddings\.patch_embeddings\.projection\.(weight|bias)", r"stem.project.\1"),
    (r"layernorm\.(weight|bias)", r"encoder.norm.\1"),
    (
        r"encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)",
        r"encoder.blocks.\1.attention.\2.\3",
    ),
    *(
        (rf"encoder\.layer\.(\d+)\.{theirs}\.(weight|bias)", rf"encoder.blocks.\1.{ours}.\2")
        for theirs, ours in _BLOCK
    ),
)
_UNUSED = (r"pooler\..*", r"classifier\..*", r"embeddings\.mask_token")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename every tensor; the pooler and the classifier are left out."""
    bare = {name.removeprefix("vit."): tensor for name, tensor in state.items()}
    renamed = rename(bare, _RULES, _UNUSED)
    for name in ("class_token", "position"):
        if name in renamed:
            renamed[name] = renamed[name].squeeze(0) if name == "position" else renamed[name].flatten()
    return renamed


def export(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by their published names."""
    shaped = dict(state)
    shaped["class_token"] = state["class_token"][None, None]
    shaped["position"] = state["position"][None]
    return rename(shaped, inverted(_RULES))
