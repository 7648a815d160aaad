"""Folders of published ViLTs → a model with its heads, and what prepares for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chiasm.checkpoints import layout, own
from chiasm.checkpoints.foreign import (
    FILTERS,
    ImageNumbers,
    Triple,
    read_state,
    read_tokenizer,
)
from chiasm.checkpoints.own import Preparation
from chiasm.checkpoints.published import read_card
from chiasm.checkpoints.shapes import Table
from chiasm.errors import CheckpointError
from chiasm.modality import Modality
from chiasm.models.bert.config import BertConfig
from chiasm.models.vilt.config import ViltConfig, ViltHeadsConfig
from chiasm.models.vilt.heads import HeadedVilt
from chiasm.models.vilt.import_weights import convert, is_original
from chiasm.models.vit.config import VitConfig
from chiasm.preprocess import ModelDescription, PreprocessConfig
from chiasm.preprocess.config import ImagePreprocess, TextPreprocess
from chiasm.settings import Precision

KIND = "vilt"
HEADS: Mapping[str, str] = {
    "ViltModel": "",
    "ViltForMaskedLM": "mlm_score",
    "ViltForQuestionAnswering": "vqa_classifier",
    "ViltForImageAndTextRetrieval": "rank_output",
    "ViltForImagesAndTextClassification": "nlvr2_classifier",
}
"""Architectures of the Hugging Face layout → the head as the paper's own code names it."""
_PROCESSOR = "preprocessor_config.json"
_SHORT = 384
_PROPORTION = 1333 / 800
"""Of the longest side that is allowed to the shorter one."""


def load_vilt(
    folder: Path, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> tuple[HeadedVilt, ModelDescription]:
    """Read a folder with ``config.json``, weights, tokenizer and preprocessing, in the Hugging Face layout or
    with the tensors named as in the paper's own code.

    Raises:
        CheckpointError: unknown or impossible values, tensors that are missing, too many or of another shape,
            a tokenizer that does not fit.
    """
    data = layout.read_json(folder / layout.MANIFEST)
    state = read_state(folder)
    numbers = image_numbers(folder)
    original = is_original(state)
    config = vilt_config(Table(data), numbers.mean, numbers.std, original=original)
    found = _heads_of(data, state)
    heads = _heads_config(data, state, found, original=original)
    tokenizer, most = read_tokenizer(folder, config.text.positions)
    licence, languages = read_card(folder)
    preparation = Preparation(
        preprocess=PreprocessConfig(text=TextPreprocess(max_tokens=most), image=numbers.preprocess),
        tokenizer=tokenizer,
        licence=licence,
        languages=languages,
    )
    preparation.expect_text(config.text)
    return own.finish(
        folder,
        own.build(lambda: HeadedVilt(config, heads)),
        convert(state, "nlvr2_classifier" if "nlvr2_classifier" in found else "vqa_classifier"),
        preparation,
        dimensions=config.width,
        modalities=(Modality.TEXT, Modality.IMAGE),
        device=device,
        precision=precision,
    )


def vilt_config(table: Table, mean: Triple, std: Triple, *, original: bool = False) -> ViltConfig:
    """ViLT's.

    Args:
        original: weights of the paper's own code, whose trunk has an epsilon of its own.
    """
    table.expect("num_channels", 3)
    table.expect("qkv_bias", True)
    _count(table, "num_images")
    width = table.number("hidden_size", 768)
    activation = table.activation("gelu")
    epsilon = table.real("layer_norm_eps", 1e-12)
    try:
        config = ViltConfig(
            vision=VitConfig(
                side=table.number("image_size", _SHORT),
                patch=table.number("patch_size", 32),
                width=width,
                depth=table.number("num_hidden_layers", 12),
                heads=table.number("num_attention_heads", 12),
                hidden=table.number("intermediate_size", 3072),
                activation=activation,
                epsilon=table.real("layer_norm_eps", 1e-6) if original else epsilon,
                mean=mean,
                std=std,
            ),
            text=BertConfig(
                vocabulary=table.number("vocab_size", 30_522),
                positions=table.number("max_position_embeddings", 40),
                token_types=table.number("type_vocab_size", 2),
                width=width,
                depth=0,
                activation=activation,
                epsilon=epsilon,
            ),
            types=table.number("modality_type_vocab_size", 2),
            most_patches=_count(table, "max_image_length"),
        )
    except ValueError as error:
        raise own.impossible(error) from error
    table.finish()
    return config


def image_numbers(folder: Path) -> ImageNumbers:
    """``preprocessor_config.json``, or the same within ``processor_config.json``: how pictures are resized.

    Raises:
        CheckpointError: steps that we do not take, or numbers that make no sense.
    """
    found: Any = layout.read_json(folder / _PROCESSOR) if (folder / _PROCESSOR).is_file() else {}
    if not found and (folder / "processor_config.json").is_file():
        found = layout.read_json(folder / "processor_config.json").get("image_processor", {})
    found = found if isinstance(found, Mapping) else {}
    size = found.get("size", _SHORT)
    table = Table(
        {**found, "size": size if isinstance(size, Mapping) else {"shortest_edge": size}}, _PROCESSOR
    )
    for step in ("do_resize", "do_rescale", "do_normalize"):
        table.expect(step, True)
    table.expect("do_center_crop", False)
    if abs(table.real("rescale_factor", 1 / 255) - 1 / 255) > 1e-6:
        raise table.bad("rescale_factor", "1/255", " 1/255", found["rescale_factor"])
    resample = table.number("resample", 3)
    if resample not in FILTERS:
        raise table.bad("resample", f"one of {list(FILTERS)}", f" {list(FILTERS)} 之一", resample)
    edges = table.table("size")
    short = edges.number("shortest_edge", _SHORT)
    edges.finish()
    try:
        preprocess = ImagePreprocess(
            side=short,
            fit="bounded",
            longest=int(_PROPORTION * short),
            multiple=table.number("size_divisor", 32),
            trim=False,
            filter=FILTERS[resample],
        )
    except CheckpointError as error:
        raise error.about(_PROCESSOR) from None
    return ImageNumbers(
        preprocess=preprocess,
        mean=table.three("image_mean", (0.5, 0.5, 0.5)),
        std=table.three("image_std", (0.5, 0.5, 0.5)),
    )


def _heads_of(data: Mapping[str, Any], state: Mapping[str, Tensor]) -> set[str]:
    """The heads as the paper's own code names them: by the architecture if told, else by the tensors."""
    told = data.get("architectures")
    if not is_original(state) and told:
        if not isinstance(told, list) or len(told) != 1 or told[0] not in HEADS:
            raise _bad("architectures", f"one of {sorted(HEADS)}", f" {sorted(HEADS)} 之一", told)
        return {HEADS[told[0]]} - {""}
    found = {name.partition(".")[0] for name in state}
    if "classifier" in found:
        images = data.get("num_images")
        several = isinstance(images, int) and images > 0
        found.add("nlvr2_classifier" if several else "vqa_classifier")
    return found & {*HEADS.values(), "itm_score"}


def _heads_config(
    data: Mapping[str, Any], state: Mapping[str, Tensor], found: set[str], *, original: bool
) -> ViltHeadsConfig:
    names: dict[str, tuple[str, ...]] = {}
    for head in ("vqa_classifier", "nlvr2_classifier"):
        last = state.get(f"{head if original else 'classifier'}.3.bias")
        names[head] = _labels(data, None if last is None else len(last)) if head in found else ()
    images = data.get("num_images")
    return ViltHeadsConfig(
        words="mlm_score" in found,
        words_tied="mlm_score.decoder.weight" not in state,
        matching="itm_score" in found,
        ranking="rank_output" in found,
        answers=names["vqa_classifier"],
        verdicts=names["nlvr2_classifier"],
        compared=images if isinstance(images, int) and images > 0 else 2,
    )


def _labels(data: Mapping[str, Any], count: int | None) -> tuple[str, ...]:
    """``id2label`` in the order of the numbers; without it, the numbers."""
    given = data.get("id2label")
    if given is None:
        return tuple(str(n) for n in range(count or 2))
    whole = isinstance(given, Mapping) and {str(key) for key in given} == {str(n) for n in range(len(given))}
    if not whole or not given or not all(isinstance(name, str) for name in given.values()):
        raise _bad("id2label", "a name for each number from 0", "从 0 起每个编号的名称", given)
    return tuple(given[str(n)] for n in range(len(given)))


def _count(table: Table, key: str) -> int:
    """A number above 0; 0 for -1, which is none."""
    value = table.real(key, -1)
    if value != -1 and (value != int(value) or not 1 <= value < 1 << 24):
        raise table.bad(key, "-1 or a whole number above 0", " -1 或正整数", value)
    return max(0, int(value))


def _bad(key: str, wanted: str, wanted_zh: str, got: object) -> CheckpointError:
    return CheckpointError(
        f"config.json: {key}: expected {wanted}, got {str(got)[:200]}",
        f"config.json：{key} 应为{wanted_zh}，实际为 {str(got)[:200]}",
        param=key,
    )
