"""The paper's released checkpoints → ours."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from chiasm.errors import CheckpointError
from chiasm.models.bert.import_weights import convert as convert_bert
from chiasm.models.renaming import Rule, rename, split_packed
from chiasm.models.unit.config import UnitConfig
from chiasm.models.unit.model import Unit

TASK_ROWS: Mapping[str, int] = {
    "detection_coco": 0, "detection_visual_genome": 1, "vqa2": 3, "glue_qnli": 5, "glue_mnli_mismatched": 6,
    "glue_sst2": 7, "glue_qqp": 8, "visual_entailment": 9,
}  # fmt: skip
"""Rows of the published tables of task tokens."""

_EPSILON = 1e-5  # of the frozen normalisation
_ATTENTION = tuple(
    (rf"{theirs}\.{part}_proj", f"{ours}.{to}")
    for theirs, ours in (("self_attn", "attention"), ("multihead_attn", "cross"))
    for part, to in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "output"))
)
_FEED_FORWARD = (("linear1", "feed_forward.expand"), ("linear2", "feed_forward.contract"))
_ENCODING = (*_ATTENTION, *_FEED_FORWARD, ("norm1", "attention_norm"), ("norm2", "feed_forward_norm"))
_DECODING = (
    *_ATTENTION,
    *_FEED_FORWARD,
    ("norm1", "attention_norm"),
    ("norm2", "cross_norm"),
    ("norm3", "feed_forward_norm"),
)
_BASE = r"unit_base_model\."
_TRANSFORMER = rf"{_BASE}transformer\."
_CONVOLUTIONS = (("conv1", "first"), ("conv2", "second"), ("conv3", "third"), (r"downsample\.0", "shortcut"))
_BODY, _RESNET = rf"{_BASE}backbone\.0\.body\.", "pictures.resnet."
_KEPT = "(weight|scale_c|shift_c)"
_STAGES = 4
_RULES: tuple[Rule, ...] = (
    (rf"{_BODY}conv1\.{_KEPT}", rf"{_RESNET}stem.\1"),
    *(
        (rf"{_BODY}layer{n + 1}\.(\d+)\.{theirs}\.{_KEPT}", rf"{_RESNET}stages.{n}.\1.{ours}.\2")
        for n in range(_STAGES)
        for theirs, ours in _CONVOLUTIONS
    ),
    (rf"{_BASE}input_proj\.(weight|bias)", r"pictures.project.\1"),
    *(
        (rf"{_TRANSFORMER}encoder\.layers\.(\d+)\.{theirs}\.(weight|bias)", rf"pictures.blocks.\1.{ours}.\2")
        for theirs, ours in _ENCODING
    ),
    (rf"{_TRANSFORMER}enc2dec_proj\.(weight|bias)", r"pictures.widen.\1"),
    (rf"{_TRANSFORMER}pos_embed_proj\.(weight|bias)", r"pictures.widen_positions.\1"),
    (r"bert_projection\.(weight|bias)", r"texts.project.\1"),
    (r"bert_pos_projection\.(weight|bias)", r"texts.project_positions.\1"),
    *(
        (
            rf"{_TRANSFORMER}decoder\.layers\.(\d+)\.{theirs}\.(weight|bias)",
            rf"decoders.shared.blocks.\1.{ours}.\2",
        )
        for theirs, ours in _DECODING
    ),
    (rf"{_TRANSFORMER}decoder\.norm\.(weight|bias)", r"decoders.shared.norm.\1"),
    *(
        (
            rf"{_TRANSFORMER}decoders\.\w+\.(\w+)\.layers\.(\d+)\.{theirs}\.(weight|bias)",
            rf"decoders.\1.blocks.\2.{ours}.\3",
        )
        for theirs, ours in _DECODING
    ),
    (rf"{_TRANSFORMER}decoders\.\w+\.(\w+)\.norm\.(weight|bias)", r"decoders.\1.norm.\2"),
    (rf"{_BASE}query_embeds\.\w+\.(\w+)\.weight", r"tasks.\1.query_nd"),
    (r"class_embeds\.(\w+)\.(weight|bias)", r"tasks.\1.head.classes.\2"),
    *(
        (rf"bbox_embeds\.(\w+)\.layers\.{n}\.(weight|bias)", rf"tasks.\1.head.boxes.{ours}.\2")
        for n, ours in enumerate(("first", "second", "third"))
    ),
    *(
        (
            rf"det_losses\.(\w+)\.attribute_head\.{theirs}\.(weight|bias)",
            rf"tasks.\1.head.attributes.{ours}.\2",
        )
        for theirs, ours in (("cls_embed", "name"), ("attr_linear1", "expand"), ("attr_linear2", "contract"))
    ),
    *(
        (rf"classifiers\.\w+\.(\w+)\.{theirs}\.(weight|bias)", rf"tasks.\1.head.{ours}.\2")
        for theirs, ours in ((r"0\.dense", "dense"), (r"0\.LayerNorm", "norm"), ("1", "classes"))
    ),
)
# weights of a loss; the same tensors a second time
_UNUSED = (r"det_losses\.\w+\.empty_weight", r"bert_model\.embeddings\..*")
_READ = "bert_model.module."
_PICTURE_TOKENS, _TEXT_TOKENS = (
    "unit_base_model.transformer.task_embeddings_enc.weight",
    "task_embeddings_lang.weight",
)


def convert(
    state: Mapping[str, Tensor], config: UnitConfig, rows: Mapping[str, int] = TASK_ROWS
) -> dict[str, Tensor]:
    """The tensors of a :class:`~chiasm.models.unit.model.Unit` of this shape from those of a checkpoint.

    Args:
        config: its tasks may be some of the checkpoint's; the weights of the others are left out.
        rows: of each task in the tables of task tokens.

    Raises:
        CheckpointError: names that a UniT does not have, or none of some that this one has.
    """
    bare = {name.replace("detr_model.", "unit_base_model."): x for name, x in state.items()}
    if config.shared:  # every task has the same tensors a second time
        bare = {name: x for name, x in bare.items() if ".transformer.decoders." not in name}
    texts = {name.removeprefix(_READ): x for name, x in bare.items() if name.startswith(_READ)}
    tables = {name: bare[name] for name in (_PICTURE_TOKENS, _TEXT_TOKENS) if name in bare}
    rest = {name: x for name, x in bare.items() if name not in tables and not name.startswith(_READ)}
    rest = _as_constants(split_packed(rest, r".*\.(?:self_attn|multihead_attn)\."))
    read, found = convert_bert(texts), rename(rest, _RULES, _UNUSED)
    strange = [*(name for name in found if name in rest), *(_READ + name for name in read if name in texts)]
    found |= {f"texts.bert.{name}": x for name, x in read.items()}
    found |= _tokens(tables, config, rows)
    wanted = _names(config)
    missing = sorted(wanted.difference(found))
    if strange or missing:
        strange = sorted(strange)
        raise CheckpointError(
            f"expected the tensors of a UniT of this shape, got others: {_listed(strange)}; "
            f"and none of: {_listed(missing)}",
            f"应为此结构的 UniT 的张量，实际多出：{_listed(strange)}；缺少：{_listed(missing)}",
        )
    return {name: x for name, x in found.items() if name in wanted}


def _as_constants(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The frozen normalisation behind each convolution as its scale and shift."""
    found = dict(state)
    for name in state:
        norm, is_norm, _ = name.partition(".running_var")
        if not is_norm:
            continue
        weight, bias, mean, variance = (
            found.pop(f"{norm}.{part}").double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        convolution = re.sub(r"bn(\d)$", r"conv\1", re.sub(r"downsample\.1$", "downsample.0", norm))
        scale = weight / (variance + _EPSILON).sqrt()
        kind = state[name].dtype
        found[f"{convolution}.scale_c"] = scale.to(kind)
        found[f"{convolution}.shift_c"] = (bias - mean * scale).to(kind)
    return found


def _tokens(tables: Mapping[str, Tensor], config: UnitConfig, rows: Mapping[str, int]) -> dict[str, Tensor]:
    """Each task's own rows of the tables."""
    return {
        f"tasks.{task.name}.{ours}": tables[table][rows[task.name]].clone()
        for task in config.tasks
        for table, ours in ((_PICTURE_TOKENS, "picture_token_d"), (_TEXT_TOKENS, "text_token_d"))
        if table in tables and task.name in rows
    }


def _names(config: UnitConfig) -> set[str]:
    """Of all tensors of a model of this shape, which is not made for it."""
    with torch.device("meta"):
        return set(Unit(config).state_dict())


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "-"
