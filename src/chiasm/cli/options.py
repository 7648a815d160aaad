"""Options that several commands share, and how they become settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from chiasm.cli.console import pick
from chiasm.settings import LoadedSettings, load_settings

TOML = Path("chiasm.toml")
"""Read from the working directory when it is there."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout, for machines.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of everything that is kept.", show_default="chiasm-data"),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Name of a model (chiasm-mini, hf:OWNER/NAME) or a folder.",
        show_default="chiasm-mini",
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", show_default="auto")
]
Store = Annotated[str, typer.Option("--store", help="Name of the collection.")]
AnyStore = Annotated[
    str | None,
    typer.Option(
        "--store", help="Name of the collection.", show_default="library; before there is one, sample"
    ),
]

DEFAULT_STORE = "library"
"""Where ``chiasm index`` and the page put one's own files."""
SAMPLE_STORE = "sample"


def expect_folder_of(output: Path, option: str) -> None:
    """Refuse a file to write whose folder is not there, before the work whose result it is to hold.

    Raises:
        typer.BadParameter: there is no such folder, or nothing may be written in it.
    """
    folder = output.absolute().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise typer.BadParameter(
            pick(
                f"expected a file in a folder that can be written, got {output}",
                f"所在的文件夹应存在且可写，实际为 {output}",
            ),
            param_hint=option,
        )


def read_settings(flags: Mapping[str, Any] | None = None) -> LoadedSettings:
    """Flags over the environment over ``chiasm.toml`` over the defaults.

    Raises:
        SettingsError: an unknown name or a value of the wrong type.
    """
    return load_settings(flags=flags, environment=os.environ, toml_path=TOML)
