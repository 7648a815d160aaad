"""UniT's folders, and the paper's released weights → such a folder."""

from collections.abc import Mapping
from pathlib import Path

import torch

from chiasm.checkpoints import layout, own
from chiasm.checkpoints.foreign import read_state, read_tensors
from chiasm.checkpoints.own import Preparation
from chiasm.checkpoints.storage import fill
from chiasm.errors import CheckpointError
from chiasm.modality import Modality
from chiasm.models.unit.config import UnitConfig
from chiasm.models.unit.import_weights import TASK_ROWS, convert
from chiasm.models.unit.model import Unit
from chiasm.models.unit.resnet import FrozenConv
from chiasm.preprocess import ModelDescription, PreprocessConfig
from chiasm.preprocess.config import ImagePreprocess, TextPreprocess
from chiasm.settings import Precision

KIND = "chiasm-unit"
_SHORT, _LONG = 800, 1333  # pixels of pictures (Carion et al. 2020, appendix A.4)
_WHOLE = ("squash", "bounded", "whole")


def load_unit(
    folder: Path, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> tuple[Unit, ModelDescription]:
    """Read a folder of :func:`save_unit`.

    Raises:
        CheckpointError: unknown or impossible values, tensors that are missing, too many or of another shape,
            a tokenizer or a preparation that does not fit.
    """
    config = own.read_record(own.read_tables(folder, "model"), "model", UnitConfig)
    preparation = own.read_preparation(folder, text=config.needs("text"))
    _check(config, preparation)
    text, picture = config.needs("text"), config.needs("picture")
    model, description = own.finish(
        folder,
        own.build(lambda: Unit(config)),
        read_state(folder),
        preparation,
        dimensions=config.width,
        modalities=(*([Modality.TEXT] if text else []), *([Modality.IMAGE] if picture else [])),
        device=device,
        precision=precision,
    )
    for module in model.modules():
        if isinstance(module, FrozenConv):  # as it makes its kernels
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return model, description


def save_unit(folder: Path, model: Unit, preparation: Preparation) -> None:
    """Write a folder that :func:`load_unit` reads; all of it or nothing.

    Args:
        folder: new, or empty.

    Raises:
        CheckpointError: a folder with something in it, a preparation that does not fit, a model that was
            packed, or weights that are not finite.
    """
    _check(model.config, preparation)
    own.write(folder, KIND, {"model": model.config}, model, preparation)


def import_unit(
    source: Path,
    folder: Path,
    *,
    config: UnitConfig | None = None,
    tokenizer: bytes = b"",
    preprocess: PreprocessConfig | None = None,
    rows: Mapping[str, int] = TASK_ROWS,
    licence: str = "",
    languages: tuple[str, ...] = ("en",),
) -> None:
    """Turn a checkpoint with the names of the paper's code into a folder.

    Args:
        source: the checkpoint, of which nothing but tensors is read.
        folder: new, or empty.
        config: of the published shape without it; its tasks may be some of the checkpoint's, and say what
            their classes are called.
        tokenizer: JSON, with the special tokens around a text; of BERT as a rule.
        preprocess: else as in the paper's code: whole pictures of at most 800 x 1333 pixels.
        rows: see :func:`chiasm.models.unit.import_weights.convert`.

    Raises:
        CheckpointError: tensors that UniT does not have, or that are missing or of another shape; a
            preparation that does not fit.
    """
    config = config or UnitConfig()
    model = fill(own.build(lambda: Unit(config)), convert(read_tensors(source), config, rows))
    preprocess = preprocess or PreprocessConfig(
        text=TextPreprocess(max_tokens=config.text.positions),
        image=ImagePreprocess(side=_SHORT, fit="bounded", longest=_LONG, trim=False, filter="bilinear"),
    )
    prepared = Preparation(preprocess=preprocess, tokenizer=tokenizer, licence=licence, languages=languages)
    save_unit(folder, model, prepared)


def _check(config: UnitConfig, preparation: Preparation) -> None:
    if config.needs("text"):
        preparation.expect_text(config.text)
    image = preparation.preprocess.image
    detects = any(task.kind == "detection" for task in config.tasks)
    if detects and (image.fit not in _WHOLE or image.trim):
        raise CheckpointError(
            f"{layout.PREPROCESS}: image: expected whole pictures ({', '.join(_WHOLE)}, no trim), of which "
            f"boxes are shares, got {image.fit}, trim {image.trim}",
            f"{layout.PREPROCESS}：image 应为完整的图片（{'、'.join(_WHOLE)}，trim 为 false），"
            f"检测框以其为准，实际为 {image.fit}，trim 为 {image.trim}",
            param=layout.PREPROCESS,
        )
