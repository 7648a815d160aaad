"""Published CLAPs (the Hugging Face layout) → ours."""

from collections.abc import Mapping

from torch import Tensor

from chiasm.models.bert.import_weights import convert as convert_bert
from chiasm.models.renaming import Rule, rename

_BLOCK = (
    ("layernorm_before", "attention_norm"),
    (r"attention\.self\.query", "attention.query"),
    (r"attention\.self\.key", "attention.key"),
    (r"attention\.self\.value", "attention.value"),
    (r"attention\.output\.dense", "attention.output"),
    ("layernorm_after", "feed_forward_norm"),
    (r"intermediate\.dense", "feed_forward.expand"),
    (r"output\.dense", "feed_forward.contract"),
)
_TOWER = r"audio_model\.audio_encoder\."
_RULES: tuple[Rule, ...] = (
    (rf"{_TOWER}batch_norm\.(.+)", r"audio.mel_norm.\1"),
    (rf"{_TOWER}patch_embed\.proj\.(weight|bias)", r"audio.project.\1"),
    (rf"{_TOWER}patch_embed\.norm\.(weight|bias)", r"audio.patch_norm.\1"),
    (rf"{_TOWER}norm\.(weight|bias)", r"audio.norm.\1"),
    (rf"{_TOWER}layers\.(\d+)\.downsample\.(norm|reduction)\.(weight|bias)", r"audio.stages.\1.merge.\2.\3"),
    (
        rf"{_TOWER}layers\.(\d+)\.blocks\.(\d+)\.attention\.self\.relative_position_bias_table",
        r"audio.stages.\1.blocks.\2.attention.table",
    ),
    *(
        (
            rf"{_TOWER}layers\.(\d+)\.blocks\.(\d+)\.{theirs}\.(weight|bias)",
            rf"audio.stages.\1.blocks.\2.{ours}.\3",
        )
        for theirs, ours in _BLOCK
    ),
    *(
        (rf"{side}_projection\.linear{number}\.(weight|bias)", rf"{side}_projection.{name}.\1")
        for side in ("audio", "text")
        for number, name in ((1, "first"), (2, "second"))
    ),
    (r"text_model\.pooler\.dense\.(weight|bias)", r"text_pool.\1"),
    ("logit_scale_a", "logit_scale"),
)
_UNUSED = (r".*\.relative_position_index", "logit_scale_t")
_TEXT = ("text_model.embeddings.", "text_model.encoder.")


def convert(state: Mapping[str, Tensor], unused_positions: int) -> dict[str, Tensor]:
    """Rename every tensor; of the two factors on cosines that of sounds is kept.

    Args:
        unused_positions: rows at the beginning of the text tower's positions that are left out.
    """
    read = {
        name.removeprefix("text_model."): tensor
        for name, tensor in state.items()
        if name.startswith(_TEXT) and not name.endswith(("position_ids", "token_type_ids"))
    }
    rest = {name: tensor for name, tensor in state.items() if not name.startswith(_TEXT)}
    renamed = rename(rest, _RULES, _UNUSED)
    return renamed | {f"text.{name}": t for name, t in convert_bert(read, unused_positions).items()}
