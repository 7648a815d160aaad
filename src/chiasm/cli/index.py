"""``chiasm index``: bring a collection in step with a folder."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from chiasm.cli import options
from chiasm.cli.console import emit, pick, plain, progress

Folder = Annotated[
    Path, typer.Argument(help="Folder of pictures, sounds, clips and notes.", exists=True, file_okay=False)
]


def index(
    folder: Folder,
    *,
    store: options.Store = options.DEFAULT_STORE,
    data_dir: options.DataDir = None,
    model: options.Model = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Index a folder where it lies; run again, it follows what changed, moved or went.

    Files that cannot be read are reported and skipped.
    """
    from chiasm.cli.connection import connect

    loaded = options.read_settings(
        {"library.data_dir": data_dir, "model.source": model, "model.device": device}
    )
    with connect(loaded.settings) as reached, progress("indexing", "正在索引", as_json=as_json) as update:
        reached.library.ensure_store(store)
        report = reached.library.index_folder(store, folder.absolute(), update)
    emit(plain(report), lambda: Text(told(report)), as_json=as_json)


def told(report: Any) -> str:
    """An IndexReport in words."""
    counts = (
        report.added,
        report.changed,
        report.moved,
        report.removed,
        report.unchanged,
        len(report.failed),
    )
    summary = pick(
        "{} new, {} changed, {} moved, {} gone, {} unchanged, {} could not be read",
        "新增 {}，更改 {}，移动 {}，消失 {}，未变 {}，无法读取 {}",
    ).format(*counts)
    problems = [f"  {problem.path}: {pick(problem.en, problem.zh)}" for problem in report.failed]
    return "\n".join([summary, *problems])
