"""Folders as model hubs hold them (the Hugging Face layout) → a model and its description."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from chiasm.checkpoints import layout, shapes
from chiasm.checkpoints.clap import UNUSED_POSITIONS, clap_config, sound_numbers
from chiasm.checkpoints.foreign import expect_ids_below, read_image_numbers, read_state, read_tokenizer
from chiasm.checkpoints.open_clip import is_open_clip, open_clip_config
from chiasm.checkpoints.storage import fill
from chiasm.errors import CheckpointError
from chiasm.hub.digest import digest_of
from chiasm.modality import Modality
from chiasm.models.bert.import_weights import convert as convert_bert
from chiasm.models.bert.sentence import SentenceEncoder, SentencePooling
from chiasm.models.clap.import_weights import convert as convert_clap
from chiasm.models.clap.model import Clap
from chiasm.models.clip.import_weights import convert as convert_clip
from chiasm.models.clip.model import Clip
from chiasm.models.vit.encoder import PictureEncoder
from chiasm.models.vit.import_weights import convert as convert_vit
from chiasm.preprocess import ModelDescription, PreprocessConfig
from chiasm.preprocess.config import TextPreprocess
from chiasm.settings import Precision

POOLINGS: Mapping[str, SentencePooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}
Published = SentenceEncoder | PictureEncoder | Clip | Clap
OPEN_CLIP_KIND = "open_clip"
PICTURES = (Modality.IMAGE, Modality.VIDEO)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What a family makes of a folder: an empty module, where its tensors are, and what prepares for it."""

    module: Published
    state: Mapping[str, Tensor]
    dimensions: int
    modalities: tuple[Modality, ...]
    preprocess: PreprocessConfig
    tokenizer: bytes = b""
    vocabulary: int = 0


def read_manifest(folder: Path) -> dict[str, Any]:
    """``config.json``; of a folder of open_clip's what stands for it."""
    return (
        {"model_type": OPEN_CLIP_KIND} if is_open_clip(folder) else layout.read_json(folder / layout.MANIFEST)
    )


def is_published(manifest: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is of this layout."""
    return isinstance(manifest.get("model_type"), str)


def load_published(
    folder: Path, device: torch.device | str, precision: Precision = "float32"
) -> tuple[Published, ModelDescription]:
    """Read a folder with ``config.json``, weights, tokenizer and preprocessing of a family that we know.

    Raises:
        CheckpointError: an unknown family, unknown or impossible values, tensors that are missing, too many
            or of another shape, a tokenizer that does not fit.
    """
    config = read_manifest(folder)
    kind = config["model_type"]
    if kind not in FAMILIES:
        raise CheckpointError(
            f"config.json: model_type: expected one of {sorted(FAMILIES)}, got {kind!r}",
            f"config.json：model_type 应为 {sorted(FAMILIES)} 之一，实际为 {kind!r}",
            param="model_type",
        )
    with torch.device("meta"):
        plan = FAMILIES[kind](folder, config)
    if plan.tokenizer:
        expect_ids_below(plan.tokenizer, plan.vocabulary)
    module = fill(plan.module, plan.state).to(device, getattr(torch, precision)).eval().requires_grad_(False)
    licence, languages = read_card(folder)
    scale = module.logit_scale.exp().item() if isinstance(module, Clip | Clap) else 1.0
    return module, ModelDescription(
        name=folder.resolve().name,
        revision=revision_of(folder),
        dimensions=plan.dimensions,
        modalities=plan.modalities,
        context_length=plan.preprocess.text.max_tokens,
        capabilities=("embed", "classify"),
        licence=licence,
        languages=languages,
        backend=f"torch-{torch.device(device).type}-{precision}",
        logit_scale=scale,
        preprocess=plan.preprocess,
        tokenizer=plan.tokenizer,
    )


def _sentences(folder: Path, config: Mapping[str, Any]) -> _Plan:
    table = shapes.Table(config)
    # RoBERTa counts positions from behind the number of its padding token: the first are never used
    unused = 0 if config["model_type"] == "bert" else table.number("pad_token_id", 1) + 1
    shape = shapes.bert_config(table, unused_positions=unused)
    tokenizer, most = read_tokenizer(folder, shape.positions)
    pooling = cast(SentencePooling, read_pooling(folder, shape.width, POOLINGS, "mean"))
    module = SentenceEncoder(shape, pooling)
    state = {f"bert.{name}": tensor for name, tensor in convert_bert(read_state(folder), unused).items()}
    return _Plan(
        module=module,
        state=state,
        dimensions=shape.width,
        modalities=(Modality.TEXT,),
        preprocess=PreprocessConfig(text=TextPreprocess(max_tokens=most)),
        tokenizer=tokenizer,
        vocabulary=shape.vocabulary,
    )


def _pictures(folder: Path, config: Mapping[str, Any]) -> _Plan:
    numbers = read_image_numbers(folder)
    shape = shapes.vit_config(shapes.Table(config), numbers.mean, numbers.std)
    state = {f"vit.{name}": tensor for name, tensor in convert_vit(read_state(folder)).items()}
    return _Plan(
        module=PictureEncoder(shape),
        state=state,
        dimensions=shape.width,
        modalities=PICTURES,
        preprocess=PreprocessConfig(image=numbers.preprocess),
    )


def _pairs(folder: Path, config: Mapping[str, Any]) -> _Plan:
    if config.get("model_type") == OPEN_CLIP_KIND:
        shape, numbers = open_clip_config(folder)
    else:
        numbers = read_image_numbers(folder)
        shape = shapes.clip_config(shapes.Table(config), config["model_type"], numbers.mean, numbers.std)
    tokenizer, most = read_tokenizer(folder, shape.text.positions)
    return _Plan(
        module=Clip(shape),
        state=convert_clip(read_state(folder)),
        dimensions=shape.dim,
        modalities=(Modality.TEXT, *PICTURES),
        preprocess=PreprocessConfig(text=TextPreprocess(max_tokens=most), image=numbers.preprocess),
        tokenizer=tokenizer,
        vocabulary=shape.text.vocabulary,
    )


def _sounds(folder: Path, config: Mapping[str, Any]) -> _Plan:
    shape = clap_config(shapes.Table(config))
    tokenizer, most = read_tokenizer(folder, shape.text.positions)
    return _Plan(
        module=Clap(shape),
        state=convert_clap(read_state(folder), UNUSED_POSITIONS),
        dimensions=shape.dim,
        modalities=(Modality.TEXT, Modality.AUDIO),
        preprocess=PreprocessConfig(text=TextPreprocess(max_tokens=most), audio=sound_numbers(folder)),
        tokenizer=tokenizer,
        vocabulary=shape.text.vocabulary,
    )


FAMILIES = {
    "bert": _sentences,
    "roberta": _sentences,
    "xlm-roberta": _sentences,
    "vit": _pictures,
    "clip": _pairs,
    "chinese_clip": _pairs,
    "siglip": _pairs,
    OPEN_CLIP_KIND: _pairs,
    "clap": _sounds,
}


def read_pooling(folder: Path, width: int, known: Mapping[str, str], otherwise: str) -> str:
    """What stands for a text, as sentence-transformers' modules say; ``otherwise`` without them.

    Args:
        known: their names of what there is → ours.

    Raises:
        CheckpointError: modules or a pooling that are not there, or of other dimensions.
    """
    path = folder / "1_Pooling" / "config.json"
    if (folder / "modules.json").is_file():
        modules = [
            str(module.get("type", "")).rsplit(".", 1)[-1] for module in _list(folder / "modules.json")
        ]
        extra = set(modules) - {"Transformer", "Pooling", "Normalize"}
        if extra:
            raise CheckpointError(
                f"modules.json: expected Transformer, Pooling and Normalize, got {sorted(extra)} too",
                f"modules.json：只支持 Transformer、Pooling 与 Normalize，另有 {sorted(extra)}",
                param="modules.json",
            )
    if not path.is_file():
        return otherwise
    found = layout.read_json(path)
    wanted = {name for name, value in found.items() if name.startswith("pooling_mode_") and value is True}
    short = f"pooling_mode_{found.get('pooling_mode')}"  # as newer versions write it
    by_short = {name.removesuffix("_tokens").removesuffix("_token"): name for name in known}
    if not wanted and short in by_short:
        wanted = {by_short[short]}
    if (
        len(wanted) != 1
        or not wanted <= known.keys()
        or found.get("word_embedding_dimension", width) != width
    ):
        raise CheckpointError(
            f"1_Pooling: expected one of {sorted(known)} at {width} dimensions, got {found}",
            f"1_Pooling：应为 {sorted(known)} 之一、{width} 维，实际为 {found}",
            param="1_Pooling",
        )
    return known[wanted.pop()]


def _list(path: Path) -> Sequence[Mapping[str, Any]]:
    found = layout.read_any_json(path)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise CheckpointError(
            f"{path.name}: expected a list of tables", f"{path.name}：应为表的列表", param=path.name
        )
    return found


def revision_of(folder: Path) -> str:
    """16 hex digits over every file that can change a vector."""
    digests = [
        (path.relative_to(folder).as_posix(), digest_of(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in {".json", ".safetensors", ".bin", ".txt", ".model"}
    ]
    return hashlib.sha256(repr(digests).encode()).hexdigest()[:16]


def read_card(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Licence and languages, as the header of the model's card says; nothing without one."""
    path = folder / "README.md"
    if not path.is_file():
        return "", ()
    with path.open(encoding="utf-8", errors="replace") as text:
        first, *lines = text.read(8192).splitlines() or [""]
    header = list(takewhile(lambda line: line.rstrip() != "---", lines)) if first.rstrip() == "---" else []
    licence = [*_listed(header, "license"), *_listed(header, "licence")]
    return licence[0] if licence else "", tuple(_listed(header, "language"))


def _listed(header: Sequence[str], key: str) -> list[str]:
    """The value or the values of a key, on its own line or on lines of their own."""
    for number, line in enumerate(header):
        if line.startswith(f"{key}:"):
            below = takewhile(lambda other: re.match(r"\s*- ", other), header[number + 1 :])
            values = " ".join([line.partition(":")[2], *(item.strip().removeprefix("- ") for item in below)])
            return re.findall(r"[\w.+-]+", values)
    return []
