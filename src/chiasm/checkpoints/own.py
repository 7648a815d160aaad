"""Folders of models that have no published layout, in ours.

``config.json`` holds ``model_type`` and records of the model's own configuration, ``preprocess.json`` every
number that changes the input; ``tokenizer.json`` and ``model.safetensors`` are as model hubs have them.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from chiasm.checkpoints import layout
from chiasm.checkpoints.folders import Files, card, expect_as_loaded, write_folder
from chiasm.checkpoints.foreign import expect_ids_below
from chiasm.checkpoints.published import read_card, revision_of
from chiasm.checkpoints.storage import fill
from chiasm.errors import CheckpointError
from chiasm.modality import Modality
from chiasm.models.bert.config import BertConfig
from chiasm.models.meter.heads import HeadedMeter
from chiasm.models.unit.model import Unit
from chiasm.models.vilt.heads import HeadedVilt
from chiasm.preprocess import ModelDescription, PreprocessConfig
from chiasm.preprocess.config import record_from_dict, record_to_dict
from chiasm.settings import Precision

M = TypeVar("M", HeadedVilt, HeadedMeter, Unit)
R = TypeVar("R")
_LARGEST_SIZE, _LARGEST_DEPTH = 1 << 24, 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preparation:
    """What prepares inputs; ``tokenizer`` is JSON, empty of a model without texts.

    Attributes:
        licence: SPDX expression. languages: as ISO 639 codes.
    """

    preprocess: PreprocessConfig
    tokenizer: bytes = b""
    licence: str = ""
    languages: tuple[str, ...] = ()

    def expect_text(self, text: BertConfig) -> None:
        """Check that a text encoder can read what the tokenizer writes.

        Raises:
            CheckpointError: the tokenizer is another model's, or texts may have more tokens than there are
                positions.
        """
        expect_ids_below(self.tokenizer, text.vocabulary)
        most = self.preprocess.text.max_tokens
        if most > text.positions:
            raise CheckpointError(
                f"{layout.PREPROCESS}: expected at most {text.positions} tokens, got {most}",
                f"{layout.PREPROCESS}：词元数应不超过 {text.positions}，实际为 {most}",
                param=layout.PREPROCESS,
            )


def read_preparation(folder: Path, *, text: bool) -> Preparation:
    """Of a folder.

    Raises:
        CheckpointError: a file that is missing, or unknown or impossible numbers.
    """
    for name in (layout.PREPROCESS, *([layout.TOKENIZER] if text else [])):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{name}: expected this file in {folder}", f"{folder} 中缺少文件 {name}", param=name
            )
    licence, languages = read_card(folder)
    return Preparation(
        preprocess=PreprocessConfig.from_dict(layout.read_json(folder / layout.PREPROCESS)),
        tokenizer=(folder / layout.TOKENIZER).read_bytes() if text else b"",
        licence=licence,
        languages=languages,
    )


def read_tables(folder: Path, *keys: str) -> Mapping[str, Any]:
    """``config.json``, which has ``model_type`` and these keys.

    Raises:
        CheckpointError: others, or not all of them.
    """
    data = layout.read_json(folder / layout.MANIFEST)
    wanted = {"model_type", *keys}
    if data.keys() != wanted:
        wrong = sorted(wanted ^ data.keys())
        raise CheckpointError(
            f"config.json: expected the keys {sorted(wanted)}, got {sorted(data)}",
            f"config.json：键应为 {sorted(wanted)}，实际为 {sorted(data)}",
            param=wrong[0],
        )
    return data


def read_record(tables: Mapping[str, Any], key: str, cls: type[R]) -> R:
    """A record of ``config.json``, of sane sizes.

    Raises:
        CheckpointError: an unknown key, a value of another type, or parts that do not fit together.
    """
    try:
        record = record_from_dict(cls, tables[key])
    except ValueError as error:
        raise impossible(error) from error
    _check_sizes(cls.__name__, record)
    return record


def build(make: Callable[[], M]) -> M:
    """A model without weights, on the meta device.

    Raises:
        CheckpointError: a shape that cannot be.
    """
    try:
        with torch.device("meta"):
            return make()
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise impossible(error) from error


def finish(
    folder: Path,
    empty: M,
    state: Mapping[str, Tensor],
    preparation: Preparation,
    *,
    dimensions: int,
    modalities: tuple[Modality, ...],
    device: torch.device | str,
    precision: Precision,
) -> tuple[M, ModelDescription]:
    """A folder's model with its weights, in evaluation mode, and its description.

    Raises:
        CheckpointError: tensors that are missing, too many, or of another shape.
    """
    module = fill(empty, state).to(device, getattr(torch, precision))
    return module.eval().requires_grad_(False), ModelDescription(
        name=folder.resolve().name,
        revision=revision_of(folder),
        dimensions=dimensions,
        modalities=modalities,
        context_length=preparation.preprocess.text.max_tokens,
        capabilities=module.capabilities,
        licence=preparation.licence,
        languages=preparation.languages,
        backend=f"torch-{torch.device(device).type}-{precision}",
        preprocess=preparation.preprocess,
        tokenizer=preparation.tokenizer,
    )


def write(
    folder: Path, kind: str, records: Mapping[str, Any], model: HeadedMeter | Unit, preparation: Preparation
) -> None:
    """A folder that :func:`read_tables` and the others read; all of it or nothing.

    Args:
        folder: new, or empty. kind: ``model_type``. records: of ``config.json``, by their keys.

    Raises:
        CheckpointError: a folder with something in it, a model that was packed, or weights that are not
            finite.
    """
    expect_as_loaded(model)
    state: dict[str, Tensor] = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    wrong = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if wrong:
        raise CheckpointError(
            f"{wrong[0]}: expected finite values, got NaN or infinity",
            f"{wrong[0]}：应为有限值，实际含有 NaN 或无穷大",
            param=wrong[0],
        )
    files: Files = {
        layout.MANIFEST: {
            "model_type": kind,
            **{key: record_to_dict(record) for key, record in records.items()},
        },
        layout.PREPROCESS: preparation.preprocess.to_dict(),
        layout.CARD: card(folder.name, preparation.licence, preparation.languages),
    }
    if preparation.tokenizer:
        files[layout.TOKENIZER] = preparation.tokenizer
    write_folder(folder, files, state)


def impossible(error: Exception) -> CheckpointError:
    """The error for a shape that cannot be."""
    return CheckpointError(
        f"config.json: {error}", f"config.json：形状无法成立：{error}", param="config.json"
    )


def _check_sizes(name: str, value: Any) -> None:
    if dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            _check_sizes(f"{name}.{f.name}", getattr(value, f.name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            _check_sizes(name, one)
    elif type(value) is int:
        most = _LARGEST_DEPTH if name.endswith(("depth", "depths")) else _LARGEST_SIZE
        if not 0 <= value <= most:
            raise impossible(ValueError(f"{name}: expected a number in [0, {most}], got {value}"))
