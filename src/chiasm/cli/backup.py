"""``chiasm backup`` and ``chiasm restore``: a library's copy, taken while it is served, and back."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chiasm.cli import options
from chiasm.cli.console import emit, pick, plain, progress, say

Destination = Annotated[
    Path, typer.Argument(help="New folder, or an earlier backup of the same library.", file_okay=False)
]
Source = Annotated[Path, typer.Argument(help="Folder of a backup.", exists=True, file_okay=False)]
NewDataDir = Annotated[Path, typer.Option("--data-dir", help="New or empty folder that becomes the library.")]


def backup(
    destination: Destination, *, data_dir: options.DataDir = None, as_json: options.AsJson = False
) -> None:
    """Copy a library, also while it is served; into an earlier backup only what is new.

    Files that a library only refers to are not copied; vector indexes and jobs are not either.
    """
    from chiasm.library.backup import back_up

    settings = options.read_settings({"library.data_dir": data_dir}).settings
    with progress("copying", "正在复制", as_json=as_json) as update:
        report = back_up(settings, destination, update)
    assert report.manifest is not None
    emit(plain(report), lambda: _backed_up(report, report.manifest), as_json=as_json)
    if report.manifest.damaged:
        damaged = len(report.manifest.damaged)
        say(
            f"{damaged} files were missing or damaged in the library itself",
            f"有 {damaged} 个文件在资料库中已丢失或损坏",
        )


def restore(source: Source, *, data_dir: NewDataDir, as_json: options.AsJson = False) -> None:
    """Make a library from a backup: in a new data directory, database and bucket as the settings say.

    Everything is checked against its hash; all of it is there in the end, or nothing.
    """
    from chiasm.library.restore import restore as put_back

    settings = options.read_settings({"library.data_dir": data_dir}).settings
    with progress("restoring", "正在恢复", as_json=as_json) as update:
        report = put_back(source, settings, update)
    emit(plain(report), lambda: _restored(report), as_json=as_json)


def _backed_up(report: Any, manifest: Any) -> str:
    return pick(
        "{} files in the backup: {} copied, {} linked, {} kept, {} removed; {} rows, {} files elsewhere",
        "备份中共有 {} 个文件：复制 {}，链接 {}，原已存在 {}，移除 {}；{} 行数据，{} 个引用的文件不在其中",
    ).format(
        manifest.files,
        report.copied,
        report.linked,
        report.kept,
        report.removed,
        manifest.rows,
        manifest.references,
    )


def _restored(report: Any) -> str:
    return pick(
        "{} files and {} rows are back; {} files lie elsewhere, {} were damaged before",
        "已恢复 {} 个文件和 {} 行数据；{} 个引用的文件在别处，{} 个此前已损坏",
    ).format(report.files, report.rows, report.references, report.damaged)
