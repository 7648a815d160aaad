"""The entry point: puts the commands together, and turns errors into messages and exit codes."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from chiasm import __version__
from chiasm.cli import chinese, console
from chiasm.cli.backup import backup, restore
from chiasm.cli.bench import bench
from chiasm.cli.data import data_app
from chiasm.cli.doctor import doctor
from chiasm.cli.embed import embed
from chiasm.cli.evaluate import evaluate
from chiasm.cli.explain import explain
from chiasm.cli.export import export
from chiasm.cli.finetune import finetune
from chiasm.cli.index import index
from chiasm.cli.jobs import jobs
from chiasm.cli.keys import keys_app
from chiasm.cli.models import models
from chiasm.cli.pull import pull
from chiasm.cli.search import search
from chiasm.cli.serve import serve
from chiasm.cli.train import train
from chiasm.cli.watch import watch
from chiasm.errors import ChiasmError

app = typer.Typer(
    name="chiasm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search anything with anything: text, pictures, sound and video, in Chinese and English.",
)
app.command("serve")(serve)
app.command("index")(index)
app.command("watch")(watch)
app.command("search")(search)
app.command("embed")(embed)
app.command("explain")(explain)
app.command("models")(models)
app.command("pull")(pull)
app.command("export")(export)
app.command("eval")(evaluate)
app.command("bench")(bench)
app.command("train")(train)
app.command("finetune")(finetune)
app.add_typer(data_app, name="data")
app.command("jobs")(jobs)
app.command("backup")(backup)
app.command("restore")(restore)
app.add_typer(keys_app, name="keys")
app.command("doctor")(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"chiasm {__version__}")
        raise typer.Exit()


@app.callback()
def chiasm(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options that belong to no command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; ``sys.argv`` when None.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    if console.pick("en", "zh") == "zh":
        chinese.translate(command)
    try:
        command.main(args=given, prog_name="chiasm")
    except ChiasmError as error:
        return console.emit_error(error, as_json=_wants_json(given))
    except KeyboardInterrupt:
        return console.INTERRUPTED
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else console.DONE
    return console.DONE


def _wants_json(arguments: Sequence[str]) -> bool:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end]
