"""The paper's released checkpoints → ours."""

from collections.abc import Mapping

from torch import Tensor

from chiasm.errors import CheckpointError
from chiasm.models.bert.import_weights import convert as convert_bert
from chiasm.models.renaming import Rule, rename, split_packed

_VISION = "meter.vision."
_VIT_BLOCK = (
    (r"attn\.q_proj", "attention.query"),
    (r"attn\.k_proj", "attention.key"),
    (r"attn\.v_proj", "attention.value"),
    (r"attn\.out_proj", "attention.output"),
    ("ln_1", "attention_norm"),
    ("ln_2", "feed_forward_norm"),
    (r"mlp\.c_fc", "feed_forward.expand"),
    (r"mlp\.c_proj", "feed_forward.contract"),
)
_FUSING_BLOCK = (
    *(
        (rf"{theirs}\.self\.{part}", f"{ours}.{part}")
        for theirs, ours in (("attention", "attention"), ("crossattention", "cross"))
        for part in ("query", "key", "value")
    ),
    (r"attention\.output\.dense", "attention.output"),
    (r"attention\.output\.LayerNorm", "attention_norm"),
    (r"crossattention\.output\.dense", "cross.output"),
    (r"crossattention\.output\.LayerNorm", "cross_norm"),
    (r"intermediate\.dense", "feed_forward.expand"),
    (r"output\.dense", "feed_forward.contract"),
    (r"output\.LayerNorm", "feed_forward_norm"),
)
_SIDES = (("text", "text"), ("image", "picture"))
_CLASSIFIERS = (("vqa", "answers"), ("nlvr2", "verdicts"), ("snli", "entailment"))
_VISUAL = r"vit_model\.visual\."
_RULES: tuple[Rule, ...] = (
    (rf"{_VISUAL}class_embedding", f"{_VISION}class_token"),
    (rf"{_VISUAL}positional_embedding", f"{_VISION}position"),
    (rf"{_VISUAL}conv1\.weight", f"{_VISION}stem.project.weight"),
    (rf"{_VISUAL}ln_pre\.(weight|bias)", rf"{_VISION}first_norm.\1"),
    (rf"{_VISUAL}ln_post\.(weight|bias)", rf"{_VISION}encoder.norm.\1"),
    *(
        (
            rf"{_VISUAL}transformer\.resblocks\.(\d+)\.{theirs}\.(weight|bias)",
            rf"{_VISION}encoder.blocks.\1.{ours}.\2",
        )
        for theirs, ours in _VIT_BLOCK
    ),
    (r"token_type_embeddings\.weight", "meter.type_nd"),
    *(
        rule
        for theirs, ours in _SIDES
        for rule in (
            (rf"cross_modal_{theirs}_transform\.(weight|bias)", rf"meter.{ours}_map.\1"),
            (rf"cross_modal_{theirs}_pooler\.dense\.(weight|bias)", rf"meter.{ours}_pooler.dense.\1"),
            *(
                (
                    rf"cross_modal_{theirs}_layers\.(\d+)\.{part}\.(weight|bias)",
                    rf"meter.fusion.{ours}.\1.{to}.\2",
                )
                for part, to in _FUSING_BLOCK
            ),
        )
    ),
    (r"mlm_score\.transform\.dense\.(weight|bias)", r"words.dense.\1"),
    (r"mlm_score\.transform\.LayerNorm\.(weight|bias)", r"words.norm.\1"),
    (r"mlm_score\.decoder\.weight", "words.weight"),
    (r"mlm_score\.bias", "words.bias"),
    (r"itm_score\.fc\.(weight|bias)", r"matching.\1"),
    (r"rank_output\.(weight|bias)", r"ranking.\1"),
    *(
        (rf"{theirs}_classifier\.{n}\.(weight|bias)", rf"{ours}.{layer}.\1")
        for theirs, ours in _CLASSIFIERS
        for n, layer in (("0", "expand"), ("1", "norm"), ("3", "contract"))
    ),
)
# of CLIP's text side, whose blocks are not kept
_UNUSED = (r"vit_model\.(positional_embedding|ln_final\.(weight|bias))",)
_READ = "text_transformer."


def convert(state: Mapping[str, Tensor], unused_positions: int = 2) -> dict[str, Tensor]:
    """The tensors of a :class:`~chiasm.models.meter.heads.HeadedMeter` from those of a checkpoint's
    ``state_dict``.

    Args:
        unused_positions: rows at the beginning of the text encoder's table of positions that it never reads:
            2 of a RoBERTa, none of a BERT.

    Raises:
        CheckpointError: names that METER does not have.
    """
    texts = {name.removeprefix(_READ): x for name, x in state.items() if name.startswith(_READ)}
    rest = {name: x for name, x in state.items() if not name.startswith(_READ)}
    rest = split_packed(rest, rf"{_VISUAL}transformer\.resblocks\.\d+\.attn\.")
    read = convert_bert(texts, unused_positions)
    found = rename(rest, _RULES, _UNUSED)
    strange = [*(name for name in found if name in rest), *(_READ + name for name in read if name in texts)]
    if strange:
        raise CheckpointError(
            f"expected tensors of a METER, got others: {', '.join(sorted(strange))}",
            f"应为 METER 的张量，实际还有：{', '.join(sorted(strange))}",
        )
    return found | {f"meter.text.{name}": x for name, x in read.items()}
