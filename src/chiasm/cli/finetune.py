"""``chiasm finetune``: a published model learns from one's own pairs."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from chiasm.cli import options
from chiasm.cli.console import INTERRUPTED, emit, pick, say

if TYPE_CHECKING:
    from chiasm.training.finetune import FinetuneResult

Source = Annotated[str, typer.Argument(help="CLIP, Chinese-CLIP or SigLIP: folder, or name of a model.")]
Data = Annotated[
    Path, typer.Argument(help="Pairs: a folder, or a .jsonl or .csv list with the columns file and text.")
]
Out = Annotated[Path, typer.Argument(help="New or empty folder for the model.")]
Train = Annotated[
    Literal["all", "text", "image", "head"],
    typer.Option("--train", help="all, text or image (the other tower is locked), or head (projections)."),
]
Validation = Annotated[
    Path | None,
    typer.Option("--validation", help="Pairs to validate on.", show_default="held out of DATA"),
]
HoldOut = Annotated[
    float, typer.Option("--hold-out", help="Share of the pictures to hold out.", min=0.0, max=0.9)
]
Epochs = Annotated[int, typer.Option("--epochs", help="How often every pair is learnt from.", min=1)]
Batch = Annotated[int, typer.Option("--batch", help="Pairs that are told from each other at once.", min=2)]
Rate = Annotated[
    float | None,
    typer.Option("--learning-rate", help="The highest learning rate.", show_default="1e-5; with head 1e-3"),
]
WarmUp = Annotated[
    float, typer.Option("--warm-up", help="Share of the steps in which the rate rises.", min=0.0, max=1.0)
]
Decay = Annotated[float, typer.Option("--weight-decay", help="Of all weights but norms and biases.", min=0.0)]
Clip = Annotated[float, typer.Option("--clip", help="Bound of the gradient's norm.")]
Crop = Annotated[
    float,
    typer.Option(
        "--crop", help="Least share of a picture's area in random cuts; 0 cuts none.", min=0.0, max=1.0
    ),
]
Accuracy = Annotated[
    Literal["auto", "float32"],
    typer.Option("--accuracy", help="auto computes in bfloat16 where the device is made for it."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the order, the cuts and what is held out.", min=0)]
Threads = Annotated[int, typer.Option("--threads", help="That read pictures.", min=1)]
Skip = Annotated[bool, typer.Option("--skip-bad", help="Leave out and report what cannot be read.")]
TrainDevice = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds", help="Stop cleanly after so long; run again to go on.", min=0, show_default="no limit"
    ),
]
_PAUSE = 2.0  # seconds between lines that say how far it is


def finetune(
    source: Source,
    data: Data,
    out: Out,
    *,
    train: Train = "all",
    validation: Validation = None,
    hold_out: HoldOut = 0.1,
    epochs: Epochs = 5,
    batch: Batch = 64,
    learning_rate: Rate = None,
    warm_up: WarmUp = 0.1,
    weight_decay: Decay = 0.1,
    clip: Clip = 1.0,
    crop: Crop = 0.0,
    accuracy: Accuracy = "auto",
    seed: Seed = 0,
    threads: Threads = 4,
    skip_bad: Skip = False,
    device: TrainDevice = "auto",
    seconds: Seconds = None,
    as_json: options.AsJson = False,
) -> None:
    """Fine-tune a published model on pairs of pictures and texts; interrupted, run it again to go on."""
    from chiasm.training.finetune import FinetuneConfig
    from chiasm.training.finetune import finetune as run

    config = FinetuneConfig(
        part=train,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        warm_up=warm_up,
        weight_decay=weight_decay,
        clip=clip,
        crop=crop,
        hold_out=hold_out,
        accuracy=accuracy,
        seed=seed,
        skip_bad=skip_bad,
        threads=threads,
    )
    settings = options.read_settings()
    with _until_interrupted() as stop:
        result = run(
            source,
            data,
            out,
            validation=validation,
            config=config,
            device=device,
            seconds=seconds,
            stop=stop,
            limits=settings.settings.limits,
            log=_silent if as_json else _Lines(),
        )
    told = {name: getattr(result, name) for name in type(result).__dataclass_fields__}
    emit({**told, "after": result.after}, lambda: _table(result), as_json=as_json)
    _warn(result)
    if not result.done and stop():
        raise typer.Exit(INTERRUPTED)


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; pressed again, it ends the program at once."""
    pressed = False

    def note(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, former)
        say("stopping after this step …", "完成当前一步后停止……")

    former = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, former)


def _silent(entry: dict[str, Any]) -> None:
    """Machines get the result alone."""


class _Lines:
    """Says what a run logs, for people, and not too often."""

    def __init__(self) -> None:
        self._said = -_PAUSE

    def __call__(self, entry: dict[str, Any]) -> None:
        step, steps = entry["step"], entry["steps"]
        if "evaluation" in entry:
            figures = "  ".join(f"{name} {value:.3f}" for name, value in entry["evaluation"].items())
            if figures:
                say(f"step {step}/{steps}: {figures}", f"第 {step}/{steps} 步：{figures}")
            return
        now = time.monotonic()
        if now - self._said < _PAUSE and step < steps:
            return
        self._said = now
        if "contrast" in entry:
            loss, left = entry["contrast"], entry["eta"]
            say(
                f"step {step}/{steps}: loss {loss:.4f}, {left} s left",
                f"第 {step}/{steps} 步：损失 {loss:.4f}，还需 {left} 秒",
            )
        elif entry["stage"] == "pictures":
            say(f"pictures read: {step}/{steps}", f"已读图片：{step}/{steps}")
        else:
            say(f"texts read: {step}/{steps}", f"已读文本：{step}/{steps}")


def _table(result: "FinetuneResult") -> Table | str:
    if not result.done:
        return pick(
            f"stopped at step {result.step}; the same command goes on",
            f"停在第 {result.step} 步；再次运行同一命令即可继续",
        )
    if not result.before:
        return result.folder
    table = Table(title=result.folder, title_justify="left")
    table.add_column(pick(f"{result.held_out} pairs held out", f"留出 {result.held_out} 对"))
    table.add_column(pick("before", "微调前"), justify="right")
    table.add_column(pick(f"after (epoch {result.best})", f"微调后（第 {result.best} 轮）"), justify="right")
    for name, value in result.before.items():
        table.add_row(name, f"{value:.3f}", f"{result.after[name]:.3f}")
    return table


def _warn(result: "FinetuneResult") -> None:
    for bad in result.skipped:
        say(f"skipped: {bad.en}", f"已跳过：{bad.zh}")
    if result.alone:
        say(
            f"{result.alone} pictures have no text of the same name and were left out",
            f"有 {result.alone} 张图片没有同名文本，未使用",
        )
    if result.cut:
        say(
            f"{result.cut} texts are longer than the model reads; it did not see their ends",
            f"有 {result.cut} 段文本超出模型能读取的长度，末尾未被使用",
        )
