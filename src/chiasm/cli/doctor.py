"""``chiasm doctor``: what is installed, what is missing and how to get it."""

from collections.abc import Sequence

import typer
from rich.table import Table
from rich.text import Text

from chiasm.cli import options
from chiasm.cli.checks import Check, run_checks
from chiasm.cli.console import FAILED, emit, pick


def doctor(
    data_dir: options.DataDir = None,
    model: options.Model = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what is installed, which backend computes and how fast, what is missing and how to get it."""
    settings = options.read_settings(
        {"library.data_dir": data_dir, "model.source": model, "model.device": device}
    ).settings
    found = list(run_checks(settings))
    emit(found, lambda: _table(found), as_json=as_json)
    if any(check.needed and not check.ok for check in found):
        raise typer.Exit(FAILED)


def _table(found: Sequence[Check]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in found:
        mark = "✓" if check.ok else "✗" if check.needed else "·"
        advice = "" if check.ok else pick(check.advice_en, check.advice_zh)
        table.add_row(mark, check.name, Text(check.found), Text(advice))
    return table
