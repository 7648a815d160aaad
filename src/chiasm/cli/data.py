"""``chiasm data``: the corpus of the default model, and the sample library."""

import os
from pathlib import Path
from typing import Annotated

import typer

from chiasm.cli import options
from chiasm.cli.console import emit, pick, say
from chiasm.cli.train import expect_mini

data_app = typer.Typer(no_args_is_help=True, help="Fetch the sources and build the default model's corpus.")

Recipe = Annotated[str, typer.Argument(help="Which corpus: mini.")]
Folder = Annotated[Path, typer.Option("--folder", help="Corpus folder.", file_okay=False)]
SourceFolder = Annotated[
    Path, typer.Option("--sources", help="Folder of the unpacked npm packages.", file_okay=False)
]
Jobs = Annotated[int, typer.Option("--jobs", help="Processes; 0 means all cores.", min=0)]
Rounds = Annotated[
    int, typer.Option("--rounds", help="How often each drawing is painted anew; for long training.", min=1)
]
Target = Annotated[Path, typer.Argument(help="Folder to write to.", file_okay=False)]


@data_app.command("sources")
def sources(folder: SourceFolder = Path("runs/sources"), as_json: options.AsJson = False) -> None:
    """Fetch the npm packages; name the Debian packages that are missing."""
    from chiasm.data.builders.sources import bring

    found = bring(folder)
    emit(
        found,
        lambda: pick(f"all sources are there: {folder}", f"所有来源均已就绪：{folder}"),
        as_json=as_json,
    )


@data_app.command("build")
def build(
    recipe: Recipe = "mini",
    folder: Folder = Path("runs/mini"),
    jobs: Jobs = 0,
    rounds: Rounds = 1,
    as_json: options.AsJson = False,
) -> None:
    """Build the corpus; what is there already is not built again."""
    expect_mini(recipe)
    from chiasm.data.builders.corpus import build as run

    say(f"building the corpus in {folder} …", f"正在 {folder} 中构建语料……")
    result = run(folder, jobs=jobs or os.cpu_count() or 1, rounds=rounds)
    emit({"folder": folder, "result": result}, lambda: pick("done", "完成"), as_json=as_json)


@data_app.command("sample")
def sample(
    target: Target, folder: SourceFolder = Path("runs/sources"), as_json: options.AsJson = False
) -> None:
    """Make the sample library's pictures, sounds, spoken notes and clips again."""
    from chiasm.data.builders.sample import build_sample
    from chiasm.data.builders.sources import Sources

    count = build_sample(target, Sources(npm=folder))
    emit(
        {"folder": target, "files": count}, lambda: pick(f"{count} files", f"{count} 个文件"), as_json=as_json
    )
