"""``chiasm embed``: vectors of files and texts."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from chiasm.cli import options
from chiasm.cli.console import emit, pick

Files = Annotated[
    list[Path] | None,
    typer.Argument(help="Pictures, sounds, clips or text files.", exists=True, dir_okay=False),
]
Texts = Annotated[list[str] | None, typer.Option("--text", "-t", help="Words; may be repeated.")]
Mixed = Annotated[bool, typer.Option("--mixed", help="Fuse everything that is given into one vector.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write float32 [n, d] to this .npy file.", dir_okay=False),
]


def embed(
    files: Files = None,
    *,
    text: Texts = None,
    mixed: Mixed = False,
    output: Output = None,
    model: options.Model = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Print one unit vector for each file and text: files first, in the order given."""
    items: list[Any] = [*(files or []), *(text or [])]
    if not items:
        raise typer.BadParameter(pick("expected a file or --text", "请给出文件或 --text"), param_hint="FILES")
    if output is not None:
        options.expect_folder_of(output, "--output")
    from chiasm.inference import load

    chosen = options.read_settings({"model.source": model, "model.device": device}).settings.model
    loaded = load(chosen.first.source, device=chosen.device, precision=chosen.precision)
    vectors = loaded.embed([items] if mixed else items)
    if output is not None:
        _save(output, vectors)
    names = ["+".join(map(str, items))] if mixed else [str(item) for item in items]
    data = {
        "model": loaded.description.name,
        "revision": loaded.description.revision,
        "data": [
            {"input": name, "embedding": vector} for name, vector in zip(names, vectors.tolist(), strict=True)
        ],
    }
    emit(data, lambda: Text(_told(names, vectors)), as_json=as_json)


def _save(path: Path, vectors: Any) -> None:
    import numpy as np

    with path.open("wb") as out:
        np.save(out, vectors)


def _told(names: list[str], vectors: Any) -> str:
    lines = []
    for name, vector in zip(names, vectors, strict=True):
        head = " ".join(f"{value:+.4f}" for value in vector[:6])
        lines.append(f"{name}\n  [{len(vector)}] {head} …")
    return "\n".join(lines)
