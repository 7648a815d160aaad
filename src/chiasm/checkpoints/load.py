"""A checkpoint folder → a model and its description."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from chiasm.checkpoints import layout, meter, unit, vilt
from chiasm.checkpoints.clap import is_fused
from chiasm.checkpoints.fit import check_fit
from chiasm.checkpoints.hf import Foreign, load_foreign
from chiasm.checkpoints.published import FAMILIES, Published, is_published, load_published, read_manifest
from chiasm.checkpoints.storage import read_weights
from chiasm.errors import CheckpointError, SettingsError
from chiasm.models.meter.heads import HeadedMeter
from chiasm.models.mini.config import MiniConfig
from chiasm.models.mini.lexicon import Lexicon
from chiasm.models.mini.listener import LexiconListener, ListenerConfig
from chiasm.models.mini.model import ChiasmMini
from chiasm.models.mini.skeleton import skeleton
from chiasm.models.unit.model import Unit
from chiasm.models.vilt.heads import HeadedVilt
from chiasm.preprocess import ModelDescription, PreprocessConfig
from chiasm.preprocess.text import TextPreprocessor
from chiasm.settings import Precision

Paired = HeadedVilt | HeadedMeter | Unit
"""What reads pictures and texts together."""
PAIRS: Mapping[str, Callable[[Path, torch.device | str, Precision], tuple[Paired, ModelDescription]]] = {
    vilt.KIND: vilt.load_vilt,
    meter.KIND: meter.load_meter,
    unit.KIND: unit.load_unit,
}
_LARGEST_SIZE = 1 << 20
_LARGEST_DEPTH = 256


class Loaded(NamedTuple):
    """What a folder holds. The model is in evaluation mode, as it was trained."""

    model: ChiasmMini | Published | Paired | Foreign
    description: ModelDescription


def load(folder: Path, device: torch.device | str = "cpu", precision: Precision = "float32") -> Loaded:
    """Verify and read a folder of :func:`~chiasm.checkpoints.save.save`, one in the layout of model hubs, or
    a METER or a UniT in ours.

    Raises:
        CheckpointError: naming the file or tensor that is missing, changed, or does not fit.
    """
    manifest = read_manifest(folder)
    if is_published(manifest):
        if manifest["model_type"] in FAMILIES and not is_fused(manifest):
            return Loaded(*load_published(folder, device, precision))
        if manifest["model_type"] in PAIRS:
            return Loaded(*PAIRS[manifest["model_type"]](folder, device, precision))
        return Loaded(*load_foreign(folder, manifest, device, precision))
    if precision != "float32":
        raise SettingsError(
            f"expected float32 for {layout.ARCHITECTURE}, got {precision}",
            f"{layout.ARCHITECTURE} 只能用 float32，实际为 {precision}",
            param="model.precision",
        )
    return Loaded(*load_mini(folder, device))


def load_mini(folder: Path, device: torch.device | str = "cpu") -> tuple[ChiasmMini, ModelDescription]:
    """A folder of :func:`~chiasm.checkpoints.save.save`; raises as :func:`load` does."""
    manifest = layout.read_manifest(folder)
    files: dict[str, Any] = manifest["files"]
    layout.verify(folder, files)
    preprocess = PreprocessConfig.from_dict(layout.read_json(folder / layout.PREPROCESS))
    config = _config(manifest["model"])
    base = _text(folder / layout.TOKENIZER)
    tokenizer = check_fit(config, preprocess, base, _lines(folder / layout.WORDS))
    model = _model(folder, config).to(device)
    described = ModelDescription(
        name=manifest["name"],
        revision=layout.revision_of(files, manifest["model"]),
        dimensions=config.text.width,
        context_length=preprocess.text.max_tokens,
        capabilities=tuple(manifest["capabilities"]),
        licence=manifest["licence"],
        languages=("en", "zh"),
        metrics=_table(folder, files, layout.METRICS),
        backend=f"torch-{torch.device(device).type}-float32",
        logit_scale=float(manifest["logit_scale"]),
        preprocess=preprocess,
        tokenizer=tokenizer,
        lexicon=(folder / layout.LEXICON).read_bytes() if layout.LEXICON in files else b"",
        calibration=_table(folder, files, layout.CALIBRATION),
    )
    if described.lexicon:
        model.listener = _listener(described, _table(folder, files, layout.HEARING))
    return model, described


def _listener(description: ModelDescription, constants: dict[str, Any]) -> LexiconListener:
    """What decides between sounds and words; constants that are not given keep their defaults."""
    known = {f.name: type(f.default) for f in dataclasses.fields(ListenerConfig)}
    for name, value in constants.items():
        if name not in known or type(value) not in {known[name], int}:
            raise CheckpointError(
                f"{layout.HEARING}: expected numbers named {', '.join(known)}, got {name} = {value!r}",
                f"{layout.HEARING}：应为名为 {'、'.join(known)} 的数，实际为 {name} = {value!r}",
                param=layout.HEARING,
            )
    text = TextPreprocessor(description.preprocess.text, description.tokenizer)
    return LexiconListener(
        Lexicon.from_bytes(description.lexicon), lambda words: text(words)[0], ListenerConfig(**constants)
    )


def _model(folder: Path, config: MiniConfig) -> ChiasmMini:
    try:
        model = skeleton(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise _bad_config(str(error)) from error
    state = read_weights(folder / layout.WEIGHTS, model.state_dict())
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def _config(data: dict[str, Any]) -> MiniConfig:
    """The config, every number in it of its type and of a sane size, before anything is built from it."""
    config = MiniConfig.from_dict(data)
    for part in dataclasses.fields(config):
        value = getattr(config, part.name)
        for f in dataclasses.fields(value):
            _check_number(f"{part.name}.{f.name}", getattr(value, f.name), f.default)
    return config


def _check_number(name: str, value: object, default: object) -> None:
    if type(value) is not type(default) and not (type(default) is float and type(value) is int):
        raise _bad_config(f"{name} = {value!r}")
    most = _LARGEST_DEPTH if name.endswith((".depth", ".blocks")) else _LARGEST_SIZE
    least = 0 if name == "trunk.classes" or isinstance(value, float) else 1
    if isinstance(value, int | float) and not least <= value <= most:
        raise _bad_config(f"{name} = {value!r}")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path.name}: expected UTF-8 text, got: {error}",
            f"{path.name}：应为 UTF-8 文本：{error}",
            param=path.name,
        ) from error


def _lines(path: Path) -> list[str]:
    text = _text(path)
    return text.removesuffix("\n").split("\n") if text else []


def _table(folder: Path, files: dict[str, Any], name: str) -> dict[str, Any]:
    return layout.read_json(folder / name) if name in files else {}


def _bad_config(got: str) -> CheckpointError:
    return CheckpointError(
        f"{layout.MANIFEST}: expected a chiasm-mini that can be built, got {got}",
        f"{layout.MANIFEST}：应为可以构建的 chiasm-mini，实际为 {got}",
        param=layout.MANIFEST,
    )
