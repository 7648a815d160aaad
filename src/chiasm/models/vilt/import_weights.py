"""Published ViLTs → ours: the Hugging Face layout, and that of the paper's own code with its packed maps."""

from collections.abc import Mapping

from torch import Tensor

from chiasm.models.bert.import_weights import convert as convert_bert
from chiasm.models.renaming import Rule, rename, split_packed
from chiasm.models.vit.import_weights import convert as convert_vit

_TEXTS, _PICTURES = "vilt.texts.bert.", "vilt.pictures.vit."
_BLOCK = (
    (r"attn\.q_proj", "attention.query"),
    (r"attn\.k_proj", "attention.key"),
    (r"attn\.v_proj", "attention.value"),
    (r"attn\.proj", "attention.output"),
    ("norm1", "attention_norm"),
    ("norm2", "feed_forward_norm"),
    (r"mlp\.fc1", "feed_forward.expand"),
    (r"mlp\.fc2", "feed_forward.contract"),
)
_CLASSIFIERS = (("0", "expand"), ("1", "norm"), ("3", "contract"))
_RULES: tuple[Rule, ...] = (
    (r"(?:embeddings\.)?token_type_embeddings\.weight", "vilt.type_nd"),
    (r"(?:embeddings|transformer)\.cls_token", f"{_PICTURES}class_token"),
    (r"(?:embeddings\.position_embeddings|transformer\.pos_embed)", f"{_PICTURES}position"),
    (
        r"(?:embeddings\.patch_embeddings\.projection|transformer\.patch_embed\.proj)\.(weight|bias)",
        rf"{_PICTURES}stem.project.\1",
    ),
    *(
        (rf"transformer\.blocks\.(\d+)\.{theirs}\.(weight|bias)", rf"vilt.encoder.blocks.\1.{ours}.\2")
        for theirs, ours in _BLOCK
    ),
    (r"transformer\.norm\.(weight|bias)", r"vilt.encoder.norm.\1"),
    (r"pooler\.dense\.(weight|bias)", r"vilt.pooler.dense.\1"),
    (r"mlm_score\.transform\.dense\.(weight|bias)", r"words.dense.\1"),
    (r"mlm_score\.transform\.LayerNorm\.(weight|bias)", r"words.norm.\1"),
    (r"mlm_score\.decoder\.weight", "words.weight"),
    (r"mlm_score\.(?:decoder\.)?bias", "words.bias"),
    (r"itm_score\.fc\.(weight|bias)", r"matching.\1"),
    (r"rank_output\.(weight|bias)", r"ranking.\1"),
    *((rf"vqa_classifier\.{n}\.(weight|bias)", rf"answers.{ours}.\1") for n, ours in _CLASSIFIERS),
    *((rf"nlvr2_classifier\.{n}\.(weight|bias)", rf"verdicts.{ours}.\1") for n, ours in _CLASSIFIERS),
)
# of masked patches, which hurt and was given up (Kim et al. 2021, table 5)
_UNUSED = (r"mpp_score\..*", r"(?:embeddings\.)?text_embeddings\.(position_ids|token_type_ids)")


def is_original(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the paper's own code."""
    return any(name.startswith("transformer.") for name in state)


def convert(state: Mapping[str, Tensor], classifier: str = "vqa_classifier") -> dict[str, Tensor]:
    """Rename every tensor of either layout, and take packed maps apart.

    Args:
        classifier: what ``classifier`` means in the Hugging Face layout: ``vqa_classifier`` or
            ``nlvr2_classifier``, which are not told apart by their names there.
    """
    texts: dict[str, Tensor] = {}
    trunk: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for full, tensor in state.items():
        name = full.removeprefix("vilt.")
        _, text, word = name.rpartition("text_embeddings.")
        if text and word.startswith(
            ("word_", "position_embeddings.", "token_type_embeddings.", "LayerNorm.")
        ):
            texts[f"embeddings.{word}"] = tensor
        elif name.startswith(("encoder.", "layernorm.")):
            trunk[name] = tensor
        elif name.startswith("classifier."):
            rest[f"{classifier}{name.removeprefix('classifier')}"] = tensor
        else:
            rest[name.replace(".attn.qkv.", ".attn.in_proj_")] = tensor
    found = rename(split_packed(rest, r"transformer\.blocks\.\d+\.attn\."), _RULES, _UNUSED)
    found |= {_TEXTS + name: tensor for name, tensor in convert_bert(texts).items()}
    found |= {f"vilt.{name}": tensor for name, tensor in convert_vit(trunk).items()}
    for name in (f"{_PICTURES}class_token", f"{_PICTURES}position"):
        if name in found:
            found[name] = found[name].squeeze(0) if name.endswith("position") else found[name].flatten()
    return found
