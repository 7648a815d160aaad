"""What came of a run, and how it is written down."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chiasm.checkpoints.export import export
from chiasm.models.clip.model import Clip
from chiasm.preprocess import ModelDescription
from chiasm.training.finetune.config import FinetuneConfig
from chiasm.training.finetune.pairs import Refused

TRAINING = "training.json"


@dataclass(frozen=True, slots=True)
class Epoch:
    """How the weights after an epoch did in validation."""

    number: int
    step: int
    figures: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneResult:
    """What came of a run.

    Attributes:
        folder: of the model, once ``done``. step, steps: how far it is, and how far it goes.
        learnt, held_out: pairs. before: figures of the model as it came. epochs: of each one that is over.
        best: number of the epoch that was written; 0 before there is one.
        skipped: what could not be read. cut: texts longer than the model reads, whose ends it does not see.
        alone: pictures without a text.
    """

    folder: str = ""
    done: bool = False
    step: int = 0
    steps: int = 0
    learnt: int = 0
    held_out: int = 0
    before: dict[str, float] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0
    skipped: list[Refused] = field(default_factory=list)
    cut: int = 0
    alone: int = 0

    @property
    def after(self) -> dict[str, float]:
        """Figures of the best epoch."""
        return next((epoch.figures for epoch in self.epochs if epoch.number == self.best), {})


def history_of(log: Path) -> dict[int, dict[str, float]]:
    """Figures by step; an epoch that was evaluated again after a crash counts once."""
    entries = [
        json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")
    ]
    return {entry["step"]: entry["evaluation"] for entry in entries if "evaluation" in entry}


def publish(
    clip: Clip,
    about: ModelDescription,
    work: Path,
    out: Path,
    *,
    result: FinetuneResult,
    config: FinetuneConfig,
) -> None:
    """Write the model with its figures to ``out``; all of it or nothing."""
    made = work / "model"
    shutil.rmtree(made, ignore_errors=True)
    export(clip, made, about=about)
    told = {
        "settings": {**asdict(config), "learning_rate": config.rate},
        "pairs": {"learnt": result.learnt, "held_out": result.held_out},
        "before": result.before,
        "best": result.best,
        "epochs": [asdict(epoch) for epoch in result.epochs],
    }
    (made / TRAINING).write_text(json.dumps(told, indent=1), encoding="utf-8")
    with (made / "README.md").open("a", encoding="utf-8") as card:
        card.write(_figures(result))
    if out.exists():
        out.rmdir()
    made.rename(out)


def _figures(result: FinetuneResult) -> str:
    lines = [
        "",
        f"Fine-tuned on {result.learnt} pairs; {result.held_out} were held out.",
        *([""] if result.before else []),
        *table(result.before, result.after),
    ]
    return "\n".join(lines) + "\n"


def table(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Figures side by side, in Markdown; nothing without any."""
    if not before:
        return []
    rows = [f"| {name} | {value:.3f} | {after.get(name, 0.0):.3f} |" for name, value in before.items()]
    return ["| | before | after |", "|---|---|---|", *rows]
