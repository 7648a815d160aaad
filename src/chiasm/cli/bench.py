"""``chiasm bench``: how fast the toolkit is here."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from chiasm.cli import options
from chiasm.cli.console import emit, say

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        help="Only this benchmark: pictures, searching, serving, load or large; may be repeated.",
        show_default="all",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="So few repetitions that it only shows that it runs.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the table to this Markdown file too.")
]


def bench(
    model: options.Model = None,
    only: Only = None,
    quick: Quick = False,
    output: Output = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure speed beside bare loops, search, and a server of its own on loopback."""
    if output is not None:
        options.expect_folder_of(output, "--output")
    from chiasm.evaluation.speed import benchmark

    settings = options.read_settings({"model.source": model}).settings
    say("measuring; this takes minutes …", "正在测试，需要几分钟……")
    report = benchmark(settings.model.first.source, only=only, quick=quick, log=lambda line: say(line, line))
    if output is not None:
        output.write_text(report.to_markdown(), encoding="utf-8")
    emit(report.to_dict(), lambda: Text(report.to_markdown()), as_json=as_json)
