"""Published Llamas (the Hugging Face layout) → ours."""

from collections.abc import Mapping

from torch import Tensor

from chiasm.models.renaming import Rule, inverted, rename

_RULES: tuple[Rule, ...] = (
    (r"model\.embed_tokens\.weight", "token.weight"),
    (r"model\.norm\.weight", "norm.weight"),
    (r"lm_head\.weight", "output.weight"),
    *(
        (rf"model\.layers\.(\d+)\.{theirs}\.(weight|bias)", rf"blocks.\1.{ours}.\2")
        for theirs, ours in (
            (r"self_attn\.q_proj", "attention.query"),
            (r"self_attn\.k_proj", "attention.key"),
            (r"self_attn\.v_proj", "attention.value"),
            (r"self_attn\.o_proj", "attention.output"),
            ("input_layernorm", "attention_norm"),
            ("post_attention_layernorm", "feed_forward_norm"),
            (r"mlp\.gate_proj", "gate"),
            (r"mlp\.up_proj", "expand"),
            (r"mlp\.down_proj", "contract"),
        )
    ),
)


def convert(state: Mapping[str, Tensor], *, tied: bool) -> dict[str, Tensor]:
    """Rename every tensor; with ``tied`` an output layer that repeats the embedding is left out."""
    unused = (r".*rotary_emb\.inv_freq", *((r"lm_head\.weight",) if tied else ()))
    return rename(state, _RULES, unused)


def export(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by their published names."""
    return rename(state, inverted(_RULES))
