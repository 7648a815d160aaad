"""Published CLIPs, Chinese-CLIPs and SigLIPs → ours, from the Hugging Face, OpenAI and open_clip layouts."""

from collections.abc import Mapping

import torch
from torch import Tensor

from chiasm.models.bert.import_weights import convert as convert_bert
from chiasm.models.bert.import_weights import export as export_bert
from chiasm.models.renaming import HUGGING_FACE_BLOCK, Rule, inverted, rename, split_packed

_VISION: tuple[Rule, ...] = (
    (r"vision_model\.embeddings\.class_embedding", "image.class_token"),
    (r"vision_model\.embeddings\.patch_embedding\.(weight|bias)", r"image.stem.project.\1"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "image.position"),
    (r"vision_model\.pre_layrnorm\.(weight|bias)", r"image.first_norm.\1"),
    (r"vision_model\.post_layernorm\.(weight|bias)", r"image.encoder.norm.\1"),
    (r"vision_model\.head\.probe", "image.pool.query"),
    (r"vision_model\.head\.attention\.q_proj\.(weight|bias)", r"image.pool.attention.query.\1"),
    (r"vision_model\.head\.attention\.k_proj\.(weight|bias)", r"image.pool.attention.key.\1"),
    (r"vision_model\.head\.attention\.v_proj\.(weight|bias)", r"image.pool.attention.value.\1"),
    (r"vision_model\.head\.attention\.out_proj\.(weight|bias)", r"image.pool.attention.output.\1"),
    (r"vision_model\.head\.layernorm\.(weight|bias)", r"image.pool.norm.\1"),
    (r"vision_model\.head\.mlp\.fc1\.(weight|bias)", r"image.pool.feed_forward.expand.\1"),
    (r"vision_model\.head\.mlp\.fc2\.(weight|bias)", r"image.pool.feed_forward.contract.\1"),
    (r"visual_projection\.weight", "image_projection.weight"),
)
_TEXT: tuple[Rule, ...] = (
    (r"text_model\.embeddings\.token_embedding\.weight", "text.stem.token.weight"),
    (r"text_model\.embeddings\.position_embedding\.weight", "text.stem.position.weight"),
    (r"text_model\.final_layer_norm\.(weight|bias)", r"text.encoder.norm.\1"),
    (r"text_model\.head\.(weight|bias)", r"text_projection.\1"),
)
_BLOCKS: tuple[Rule, ...] = tuple(
    (
        pattern.replace("(.*)", side, 1),
        ours.replace(r"\1", name, 1).replace(r"\2", r"\1").replace(r"\3", r"\2"),
    )
    for side, name in ((r"vision_model\.", "image."), (r"text_model\.", "text."))
    for pattern, ours in HUGGING_FACE_BLOCK
)
_UNUSED = (r".*\.position_ids", r"text_model\.pooler\..*")

_OPENAI: tuple[Rule, ...] = (
    (r"visual\.class_embedding", "image.class_token"),
    (r"visual\.positional_embedding", "image.position"),
    (r"visual\.conv1\.weight", "image.stem.project.weight"),
    (r"visual\.ln_pre\.(weight|bias)", r"image.first_norm.\1"),
    (r"visual\.ln_post\.(weight|bias)", r"image.encoder.norm.\1"),
    (r"visual\.proj", "image_projection.weight"),
    (r"token_embedding\.weight", "text.stem.token.weight"),
    (r"positional_embedding", "text.stem.position.weight"),
    (r"ln_final\.(weight|bias)", r"text.encoder.norm.\1"),
    (r"text_projection", "text_projection.weight"),
    *(
        (
            rf"{side}transformer\.resblocks\.(\d+)\.{theirs}\.(weight|bias)",
            rf"{tower}.encoder.blocks.\1.{ours}.\2",
        )
        for side, tower in ((r"visual\.", "image"), ("", "text"))
        for theirs, ours in (
            (r"attn\.q_proj", "attention.query"),
            (r"attn\.k_proj", "attention.key"),
            (r"attn\.v_proj", "attention.value"),
            (r"attn\.out_proj", "attention.output"),
            ("ln_1", "attention_norm"),
            ("ln_2", "feed_forward_norm"),
            (r"mlp\.c_fc", "feed_forward.expand"),
            (r"mlp\.c_proj", "feed_forward.contract"),
        )
    ),
)
_OPENAI_UNUSED = ("input_resolution", "context_length", "vocab_size", "attn_mask")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename every tensor of either layout. Position numbers are left out, and a bias of all logits where it
    is no SigLIP's.
    """
    if any(name.startswith("visual.") for name in state):
        return _from_openai(state)
    state = split_packed(state, r"vision_model\.head\.attention\.")
    read = {name: t for name, t in state.items() if name.startswith("text_model.encoder.layer.")}
    if read:  # a BERT
        bert = {n: t for n, t in state.items() if n.startswith("text_model.") and "position_ids" not in n}
        rest = {n: t for n, t in state.items() if n not in bert}
        inside = convert_bert({name.removeprefix("text_model."): t for name, t in bert.items()})
        renamed = rename(rest, (*_VISION, *_BLOCKS), _UNUSED)
        renamed |= {f"text.bert.{name}": tensor for name, tensor in inside.items()}
    else:
        renamed = rename(state, (*_VISION, *_TEXT, *_BLOCKS), _UNUSED)
    return _shaped(renamed)


def _from_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    apart = split_packed(state, r".*\.attn\.")
    renamed = rename(apart, _OPENAI, _OPENAI_UNUSED)
    for name in ("image_projection.weight", "text_projection.weight"):
        if name in renamed:
            renamed[name] = renamed[name].T.contiguous()  # theirs multiply from the right
    return _shaped(renamed)


def _shaped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for name in ("image.class_token", "image.pool.query"):
        if name in state:
            state[name] = state[name].flatten()
    if "logit_scale" in state:
        state["logit_scale"] = state["logit_scale"].reshape(())
    bias = state.pop("logit_bias", None)
    if "image.pool.query" in state:  # a SigLIP; without a bias it is one that says nothing of it
        state["logit_bias"] = torch.zeros(()) if bias is None else bias.reshape(())
    return state


def export(state: Mapping[str, Tensor], *, siglip: bool) -> dict[str, Tensor]:
    """Our tensors by their names in the Hugging Face layout."""
    inside = {n.removeprefix("text.bert."): t for n, t in state.items() if n.startswith("text.bert.")}
    rest = {name: tensor for name, tensor in state.items() if not name.startswith("text.bert.")}
    rules = (*_VISION, *_BLOCKS, *(_TEXT if siglip else _TEXT[:-1]))  # the last is SigLIP's projection
    renamed = rename(rest, inverted(rules))
    renamed |= {f"text_model.{name}": tensor for name, tensor in export_bert(inside).items()}
    if siglip:
        probe = "vision_model.head.probe"
        renamed[probe] = renamed[probe][None, None]
        for name in ("logit_scale", "logit_bias"):
            renamed[name] = renamed[name].reshape(1)
        for kind in ("weight", "bias"):
            head = "vision_model.head.attention."
            parts = [renamed.pop(f"{head}{part}_proj.{kind}") for part in "qkv"]
            renamed[f"{head}in_proj_{kind}"] = torch.cat(parts)
    return renamed
