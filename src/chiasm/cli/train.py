"""``chiasm train``: the default model's recipe."""

from pathlib import Path
from typing import Annotated

import typer

from chiasm.cli import options
from chiasm.cli.console import emit, pick, say

Recipe = Annotated[str, typer.Argument(help="Which recipe: mini.")]
Folder = Annotated[
    Path,
    typer.Option("--folder", help="Corpus folder; checkpoints and logs go into it too.", file_okay=False),
]
Stages = Annotated[
    list[str] | None,
    typer.Option("--stage", help="Only this stage; may be repeated.", show_default="all, in their order"),
]
TrainDevice = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds", help="Stop cleanly after so long; run again to go on.", min=0, show_default="no limit"
    ),
]
Share = Annotated[
    float, typer.Option("--share", help="Part of each stage's usual number of steps.", min=0.001)
]
Start = Annotated[
    str | None,
    typer.Option(
        "--start",
        help="Checkpoint whose weights stages that have not begun go on from.",
        show_default="from nothing",
    ),
]
Keep = Annotated[
    float,
    typer.Option("--keep", help="Share of those weights in what each stage ends with.", min=0.0, max=1.0),
]


def train(
    recipe: Recipe = "mini",
    *,
    folder: Folder = Path("runs/mini"),
    stage: Stages = None,
    device: TrainDevice = "auto",
    seconds: Seconds = None,
    share: Share = 1.0,
    start: Start = None,
    keep: Keep = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Train the default model from its corpus; interrupted at any moment, run it again to go on."""
    expect_mini(recipe)
    from chiasm.checkpoints import resolve
    from chiasm.training.recipe import train as run

    say(
        f"training in {folder}; Ctrl-C stops, the same command goes on",
        f"在 {folder} 中训练；按 Ctrl-C 停止，再次运行即可继续",
    )
    begin = resolve(start) if start else None
    result = run(folder, stages=stage, device=device, seconds=seconds, share=share, start=begin, keep=keep)
    emit({"folder": folder, "result": result}, lambda: pick("done", "完成"), as_json=as_json)


def expect_mini(recipe: str) -> None:
    """Refuse recipes that do not exist.

    Raises:
        typer.BadParameter: any but ``mini``.
    """
    if recipe != "mini":
        raise typer.BadParameter(
            pick(f"expected mini, got {recipe}", f"应为 mini，实际为 {recipe}"), param_hint="RECIPE"
        )
