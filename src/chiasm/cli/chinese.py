"""The help in Chinese, from ``chinese.json``; a test fails when a sentence is missing there."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import click


@cache
def help_texts() -> Mapping[str, str]:
    """Chinese by English."""
    texts: dict[str, str] = json.loads(files("chiasm.cli").joinpath("chinese.json").read_text("utf-8"))
    return texts


def translate(command: Any) -> None:
    """Replace the help of a command, its options, their defaults in words, and its subcommands."""
    texts = help_texts()
    command.rich_markup_mode = None  # its tables cut text without spaces off instead of wrapping it
    if command.help:
        command.help = texts.get(command.help, command.help)
    for parameter in (*command.params, command.get_help_option(click.Context(command))):
        for attribute in ("help", "show_default"):
            text = getattr(parameter, attribute, None)
            if isinstance(text, str):
                setattr(parameter, attribute, texts.get(text, text))
    for subcommand in getattr(command, "commands", {}).values():
        translate(subcommand)
