"""METER's folders, and the paper's released weights → such a folder."""

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from chiasm.checkpoints import layout, own
from chiasm.checkpoints.foreign import read_state, read_tensors
from chiasm.checkpoints.own import Preparation
from chiasm.checkpoints.storage import fill
from chiasm.errors import CheckpointError
from chiasm.modality import Modality
from chiasm.models.meter.config import MeterConfig, MeterHeadsConfig
from chiasm.models.meter.heads import HeadedMeter
from chiasm.models.meter.import_weights import convert
from chiasm.preprocess import ModelDescription, PreprocessConfig
from chiasm.preprocess.config import ImagePreprocess, TextPreprocess
from chiasm.settings import Precision

KIND = "chiasm-meter"
_TOKENS = 50  # of a text in fine-tuning
_POSITIONS = "meter.vision.position"
_SQUARES = ("crop", "pad", "squash", "shortest")


def load_meter(
    folder: Path, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> tuple[HeadedMeter, ModelDescription]:
    """Read a folder of :func:`save_meter`.

    Raises:
        CheckpointError: unknown or impossible values, tensors that are missing, too many or of another shape,
            a tokenizer or a preparation that does not fit.
    """
    tables = own.read_tables(folder, "model", "heads")
    config = own.read_record(tables, "model", MeterConfig)
    heads = own.read_record(tables, "heads", MeterHeadsConfig)
    preparation = own.read_preparation(folder, text=True)
    _check(config, preparation)
    return own.finish(
        folder,
        own.build(lambda: HeadedMeter(config, heads)),
        read_state(folder),
        preparation,
        dimensions=config.width,
        modalities=(Modality.TEXT, Modality.IMAGE),
        device=device,
        precision=precision,
    )


def save_meter(folder: Path, model: HeadedMeter, preparation: Preparation) -> None:
    """Write a folder that :func:`load_meter` reads; all of it or nothing.

    Args:
        folder: new, or empty.

    Raises:
        CheckpointError: a folder with something in it, a preparation that does not fit, a model that was
            packed, or weights that are not finite.
    """
    _check(model.config, preparation)
    own.write(folder, KIND, {"model": model.config, "heads": model.heads}, model, preparation)


def import_meter(
    source: Path,
    folder: Path,
    *,
    tokenizer: bytes,
    config: MeterConfig | None = None,
    names: Mapping[str, tuple[str, ...]] | None = None,
    preprocess: PreprocessConfig | None = None,
    unused_positions: int = 2,
    licence: str = "",
    languages: tuple[str, ...] = ("en",),
) -> None:
    """Turn a checkpoint with the names of the paper's code into a folder.

    Args:
        source: the checkpoint, of which nothing but tensors is read; the heads are those that it has.
        folder: new, or empty.
        tokenizer: JSON, with the special tokens around a text; of RoBERTa as a rule.
        config: of the published shape without it. The side of pictures is the checkpoint's.
        names: of ``answers``, ``verdicts`` and ``entailment``; without them, their numbers from 0.
        preprocess: else as in the paper's code: the shorter side is resized, the middle is cut out.
        unused_positions: see :func:`chiasm.models.meter.import_weights.convert`.

    Raises:
        CheckpointError: tensors that METER does not have, or that are missing or of another shape; a
            preparation that does not fit.
    """
    state = convert(read_tensors(source), unused_positions)
    config = config or MeterConfig()
    if _POSITIONS in state:
        side = config.vision.patch * isqrt(len(state[_POSITIONS]) - 1)
        config = replace(config, vision=replace(config.vision, side=side))
    heads = _heads(state, names or {})
    model = fill(own.build(lambda: HeadedMeter(config, heads)), state)
    preprocess = preprocess or PreprocessConfig(
        text=TextPreprocess(max_tokens=min(_TOKENS, config.text.positions)),
        image=ImagePreprocess(side=config.vision.side, fit="shortest", trim=False, filter="bicubic"),
    )
    prepared = Preparation(preprocess=preprocess, tokenizer=tokenizer, licence=licence, languages=languages)
    save_meter(folder, model, prepared)


def _heads(state: Mapping[str, Tensor], names: Mapping[str, tuple[str, ...]]) -> MeterHeadsConfig:
    """Those whose tensors are there."""
    named = {
        head: names.get(head) or tuple(str(n) for n in range(len(state[f"{head}.contract.bias"])))
        for head in ("answers", "verdicts", "entailment")
        if f"{head}.contract.bias" in state
    }
    return MeterHeadsConfig(
        words="words.weight" in state,
        matching="matching.weight" in state,
        ranking="ranking.weight" in state,
        **named,
    )


def _check(config: MeterConfig, preparation: Preparation) -> None:
    preparation.expect_text(config.text)
    image, patch = preparation.preprocess.image, config.vision.patch
    if image.fit not in _SQUARES or image.side % patch:
        raise CheckpointError(
            f"{layout.PREPROCESS}: image: expected squares ({', '.join(_SQUARES)}) whose side is a multiple "
            f"of {patch} pixels, got {image.fit} of {image.side}",
            f"{layout.PREPROCESS}：image 应为边长是 {patch} 像素倍数的正方形（{'、'.join(_SQUARES)}），"
            f"实际为 {image.fit}、{image.side}",
            param=layout.PREPROCESS,
        )
