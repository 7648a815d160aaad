"""The help in Chinese, from ``chinese.json``; a test fails when a sentence is missing there."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def help_texts() -> Mapping[str, str]:
    """Chinese by English."""
    texts: dict[str, str] = json.loads(files("chiasm.cli").joinpath("chinese.json").read_text("utf-8"))
    return texts


def translate(command: Any) -> None:
    """Replace the help of a command, its options and its subcommands."""
    texts = help_texts()
    if command.help:
        command.help = texts.get(command.help, command.help)
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = texts.get(parameter.help, parameter.help)
    for subcommand in getattr(command, "commands", {}).values():
        translate(subcommand)
