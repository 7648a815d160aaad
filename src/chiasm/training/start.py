"""Weights that stages end with, and weights that they may begin with.

A stage's folder holds ``state.pt`` once it has been trained, and ``start.pt`` if it is to go on from a
checkpoint's weights instead of from nothing.
"""

from pathlib import Path

import torch
from torch import Tensor

from chiasm.checkpoints import layout, load_mini
from chiasm.errors import CheckpointError
from chiasm.models.mini.model import ChiasmMini
from chiasm.training.backbones import load_minilm
from chiasm.training.corpus import Corpus

STATE = "state.pt"
START = "start.pt"


def weights_of(folder: Path) -> dict[str, Tensor]:
    """The mean of a stage's weights; before it has begun, what it begins with; empty if there is neither."""
    if (folder / STATE).exists():
        state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
        mean: dict[str, Tensor] = state["mean"]
        return mean
    return start_of(folder)


def start_of(folder: Path) -> dict[str, Tensor]:
    """What a stage begins with; empty when that is nothing."""
    path = folder / START
    if not path.exists():
        return {}
    start: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return start


def begin_from(checkpoint: Path, corpus: Corpus, runs: Path) -> None:
    """Let every stage that has not begun begin with the weights of a checkpoint of the same words.

    Raises:
        CheckpointError: the folder is no such checkpoint.
    """
    model, _ = load_mini(checkpoint)
    bert, english = load_minilm()
    words, _, _ = corpus.words(english)
    written = (checkpoint / layout.WORDS).read_text(encoding="utf-8").split()
    if words != written:
        raise CheckpointError(
            f"expected a checkpoint with this corpus's {len(words)} words, got {len(written)} others",
            f"检查点的词表应与语料的 {len(words)} 个词一致，实际为另外 {len(written)} 个词",
            param=layout.WORDS,
        )
    starts = {name: module.state_dict() for name, module in stage_modules(model).items()}
    starts["text"] = {"words": model.text.token.weight[bert.config.vocabulary :].clone()}
    for name, weights in starts.items():
        folder = runs / name
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / STATE).exists():
            temporary = folder / "start.tmp"
            torch.save(weights, temporary)
            temporary.replace(folder / START)


def stage_modules(model: ChiasmMini) -> dict[str, torch.nn.Module]:
    """The part of the model that each stage (but text) trains."""
    return {
        "image": model.image.freeze_published(),
        "audio": model.audio,
        "video": model.motion,
        "fusion": model.fusion,
    }


def trained_state(module: torch.nn.Module) -> dict[str, Tensor]:
    """What training changes, running statistics included; frozen weights need not be written each time."""
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    return {name: value for name, value in module.state_dict().items() if name not in frozen}
