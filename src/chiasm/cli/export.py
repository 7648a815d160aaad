"""``chiasm export``: a model as others read it."""

from pathlib import Path
from typing import Annotated

import typer

from chiasm.cli import options
from chiasm.cli.console import emit
from chiasm.settings import Precision

Source = Annotated[str, typer.Argument(help="Folder, name of a model that was pulled, or a GGUF file.")]
Folder = Annotated[Path, typer.Argument(help="New or empty folder to write.")]
Kind = Annotated[str, typer.Option("--precision", help="float32 or bfloat16.")]


def export(
    source: Source, folder: Folder, *, precision: Kind = "float32", as_json: options.AsJson = False
) -> None:
    """Write a model in the Hugging Face layout, for `transformers` and others to load."""
    from chiasm.checkpoints import layout, load
    from chiasm.checkpoints.decoders import GGUF, KINDS, load_decoder
    from chiasm.checkpoints.export import export as write
    from chiasm.checkpoints.published import read_manifest

    kind: Precision = "bfloat16" if precision == "bfloat16" else "float32"
    if precision != kind:
        raise typer.BadParameter(f"float32, bfloat16: {precision}", param_hint="--precision")
    known = None if source.endswith(GGUF) else read_manifest(layout.resolve(source))
    if known is None or known.get("model_type") in KINDS:
        decoder = load_decoder(source)
        write(decoder.model, folder, tokenizer=decoder.tokenizer.to_str().encode(), precision=kind)
    else:
        model, about = load(layout.resolve(source))
        write(model, folder, about=about, precision=kind)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    emit({"folder": str(folder), "files": files}, lambda: str(folder), as_json=as_json)
