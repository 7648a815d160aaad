"""``chiasm eval``: measure a model, beside chance and trivial baselines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from chiasm.cli import options
from chiasm.cli.console import emit, say

if TYPE_CHECKING:
    from chiasm.evaluation.report import Report

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Corpus folder made by `chiasm data build`.",
        exists=True,
        file_okay=False,
        show_default="runs/mini",
    ),
]
Sources = Annotated[
    Path | None,
    typer.Option(
        "--sources",
        help="Folder of the unpacked npm packages.",
        exists=True,
        file_okay=False,
        show_default="sources in or beside the corpus folder",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only this suite; may be repeated.", show_default="all"),
]
Split = Annotated[
    Literal["test", "validation"],
    typer.Option("--split", help="test is read once for a release; validation may be tuned on."),
]
Photographs = Annotated[
    Path | None,
    typer.Option(
        "--photographs",
        help="Folder of photographs in sub-folders named after what they show.",
        exists=True,
        file_okay=False,
    ),
]
Share = Annotated[
    float, typer.Option("--share", help="Part of every sample to take, above 0 to 1.", min=0.001, max=1.0)
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the table to this Markdown file too.")
]
Annotate = Annotated[
    bool, typer.Option("--annotate", help="Write the figures into the checkpoint's card and metrics.")
]


def evaluate(
    model: options.Model = None,
    *,
    data: Data = None,
    sources: Sources = None,
    only: Only = None,
    split: Split = "test",
    photographs: Photographs = None,
    share: Share = 1.0,
    output: Output = None,
    annotate: Annotate = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure retrieval and zero-shot classification; print the model card's table."""
    if output is not None:
        options.expect_folder_of(output, "--output")
    from chiasm.evaluation.run import evaluate as run

    settings = options.read_settings({"model.source": model}).settings
    say("measuring; this takes minutes …", "正在评测，需要几分钟……")
    report = run(
        settings.model.first.source,
        data,
        only=only,
        sources=sources,
        split=split,
        photographs=photographs,
        share=share,
        log=lambda line: say(line, line),
    )
    if output is not None:
        output.write_text(report.to_markdown(), encoding="utf-8")
    if annotate:
        _annotate(settings.model.first.source, report)
    emit(report.to_dict(), lambda: Text(report.to_markdown()), as_json=as_json)


def _annotate(source: str, report: "Report") -> None:
    from chiasm import checkpoints
    from chiasm.evaluation.card import model_card
    from chiasm.inference import load

    card = model_card(load(source).description, report)
    checkpoints.annotate(checkpoints.resolve(source), metrics=report.to_dict(), card=card)
