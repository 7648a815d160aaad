"""``chiasm explain``: where the model looked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from chiasm.cli import options
from chiasm.cli.console import emit, pick

if TYPE_CHECKING:
    from chiasm.preprocess.explained import Explained, Spot

File = Annotated[
    Path, typer.Argument(help="A picture, a sound, a clip or a text file.", exists=True, dir_okay=False)
]
Target = Annotated[str, typer.Argument(help="What is looked for in it, in words.")]
Others = Annotated[
    list[str] | None,
    typer.Option("--not", help="What TARGET is told apart from, in words; may be repeated."),
]
How = Annotated[
    Literal["contribution", "relevance", "rollout", "attention", "gradient"],
    typer.Option("--method", help="How to find out."),
]
Layer = Annotated[int | None, typer.Option("--layer", help="Of attention.", min=0, show_default="the last")]
Head = Annotated[int | None, typer.Option("--head", help="Of attention.", min=0, show_default="mean of all")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write a PNG with the weights over FILE.", dir_okay=False),
]
MOST = 8


def explain(
    file: File,
    target: Target,
    *,
    others: Others = None,
    method: How = "contribution",
    layer: Layer = None,
    head: Head = None,
    output: Output = None,
    model: options.Model = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Say where the model looked when it brought FILE and TARGET together."""
    if output is not None:
        options.expect_folder_of(output, "--output")
    from chiasm.inference import load

    chosen = options.read_settings({"model.source": model, "model.device": device}).settings.model
    loaded = load(chosen.first.source, device=chosen.device, precision=chosen.precision)
    found = loaded.explain(file, target, others=others or [], method=method, layer=layer, head=head)
    if output is not None:
        found.save(output)
    emit(_data(found, loaded.description.name), lambda: _table(found), as_json=as_json)


def _data(found: "Explained", model: str) -> dict[str, Any]:
    return {
        "model": model,
        "method": found.method,
        "score": found.score,
        "layers": found.layers,
        "heads": found.heads,
        "input": [spot._asdict() for spot in found.input],
        "target": [spot._asdict() for spot in found.target],
        "links": [
            {**link.word._asdict(), "weight": link.weight, "weights": link.weights.tolist()}
            for link in found.links
        ],
    }


def _table(found: "Explained") -> Table:
    """The places that mattered most, and the words."""
    table = Table(title=pick(f"score {found.score:.3f}", f"得分 {found.score:.3f}"), title_justify="left")
    table.add_column(pick("weight", "权重"), justify="right")
    table.add_column(pick("where", "位置"))
    for spot in sorted(found.input, key=lambda spot: -spot.weight)[:MOST]:
        if spot.weight > 0:
            table.add_row(f"{spot.weight:.3f}", Text(_where(spot)))
    for link in sorted(found.links, key=lambda link: -link.weight)[:MOST]:
        table.add_row(f"{link.weight:.3f}", Text(f"“{link.word.text}”"))
    return table


def _where(spot: "Spot") -> str:
    shown = []
    if spot.text:
        shown.append(f"“{spot.text}”")
    elif spot.span is not None:
        shown.append(f"{spot.span[0]:.2f}–{spot.span[1]:.2f} s")
    if spot.box is not None:
        left, top, right, bottom = (round(100 * edge) for edge in spot.box)
        shown.append(
            pick(f"x {left}–{right} %, y {top}–{bottom} %", f"横 {left}–{right} %，纵 {top}–{bottom} %")
        )
    return ", ".join(shown) or pick("the whole", "整体")
