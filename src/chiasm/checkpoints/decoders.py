"""Decoders as hubs and llama.cpp keep them → a model, its tokenizer, and what ends a text."""

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from chiasm.checkpoints import layout, shapes
from chiasm.checkpoints.foreign import expect_ids_below, read_state, read_tokenizer
from chiasm.checkpoints.gguf import load_gguf
from chiasm.checkpoints.storage import fill
from chiasm.errors import CheckpointError
from chiasm.models.gpt.import_weights import convert as convert_gpt
from chiasm.models.gpt.model import Gpt
from chiasm.models.llama.import_weights import convert as convert_llama
from chiasm.models.llama.model import Llama
from chiasm.settings import Precision

LLAMAS = ("llama", "qwen2")
KINDS = ("gpt2", *LLAMAS)
GGUF = ".gguf"
GENERATION = "generation_config.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedDecoder:
    """``ends``: tokens after which nothing follows."""

    model: Gpt | Llama
    tokenizer: Tokenizer
    ends: tuple[int, ...]


def load_decoder(
    source: str | Path, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> LoadedDecoder:
    """Read a GPT-2, Llama or Qwen 2: a folder in the Hugging Face layout, a model of a hub, or a GGUF file.

    Raises:
        CheckpointError: another family, unknown or impossible values, tensors that are missing, too many
            or of another shape, a tokenizer that does not fit.
    """
    path = Path(source)
    if path.suffix == GGUF and path.is_file():
        model, tokenizer, ends = load_gguf(path)
        return LoadedDecoder(model=_placed(model, device, precision), tokenizer=tokenizer, ends=ends)
    folder = layout.resolve(source)
    config = layout.read_json(folder / layout.MANIFEST)
    kind = config.get("model_type")
    if kind not in KINDS:
        raise CheckpointError(
            f"config.json: model_type: expected one of {list(KINDS)}, got {kind!r}",
            f"config.json：model_type 应为 {list(KINDS)} 之一，实际为 {kind!r}",
            param="model_type",
        )
    table, state = shapes.Table(config), read_state(folder)
    with torch.device("meta"):
        empty = Gpt(shapes.gpt_config(table)) if kind == "gpt2" else Llama(shapes.llama_config(table, kind))
    given = convert_gpt(state) if isinstance(empty, Gpt) else convert_llama(state, tied=empty.config.tied)
    module = fill(empty, given)
    config_of = module.config
    tokenizer = expect_ids_below(read_tokenizer(folder, config_of.positions)[0], config_of.vocabulary)
    return LoadedDecoder(
        model=_placed(module, device, precision), tokenizer=tokenizer, ends=_ends(folder, config)
    )


def _placed(model: Gpt | Llama, device: torch.device | str, precision: Precision) -> Gpt | Llama:
    return model.to(device, getattr(torch, precision)).eval().requires_grad_(False)


def _ends(folder: Path, config: dict[str, object]) -> tuple[int, ...]:
    """Of the generation's own settings if there are any: those know of ends of turns, too."""
    path = folder / GENERATION
    found = layout.read_json(path).get("eos_token_id") if path.is_file() else None
    found = config.get("eos_token_id") if found is None else found
    listed = found if isinstance(found, list) else [found]
    return tuple(one for one in listed if type(one) is int and one >= 0)
