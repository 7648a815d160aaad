"""What holds for every command: help in two languages, JSON, exit codes, documentation."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from chiasm import __version__
from chiasm.cli import chinese, console
from chiasm.cli.main import app, main
from chiasm.errors import NotFound

ROOT = Path(__file__).parents[2]


def commands(command: Any = None, path: tuple[str, ...] = ("chiasm",)) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    command = command or typer.main.get_command(app)
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
    for name, child in (children or {}).items():
        yield from commands(child, (*path, name))


def helps(command: Any) -> Iterator[str]:
    yield command.help
    for parameter in (*command.params, command.get_help_option(click.Context(command))):
        yield parameter.help
        default = getattr(parameter, "show_default", None)
        if isinstance(default, str) and (" " in default or default == "all"):  # words, not a value to type
            yield default
    for child in getattr(command, "commands", {}).values():
        yield from helps(child)


COMMANDS = dict(commands())


def test_the_commands_of_the_contract_are_there():
    named = {
        "serve",
        "index",
        "watch",
        "search",
        "embed",
        "eval",
        "models",
        "doctor",
        "train",
        "jobs",
        "data build",
    }
    assert {f"chiasm {name}" for name in named} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json(name: str):
    assert "--json" in [option for parameter in COMMANDS[name].params for option in parameter.opts]


def test_all_help_is_there_in_chinese():
    english = set(helps(typer.main.get_command(app)))
    assert english - set(chinese.help_texts()) == set()
    assert all(re.search(r"[\u4e00-\u9fff]|cuda", text) for text in chinese.help_texts().values())
    assert set(chinese.help_texts()) - english == set()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(language: str, name: str):
    page = (ROOT / "docs" / language / "cli.md").read_text(encoding="utf-8")
    found = re.search(rf"^## `{re.escape(name)}`$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    for parameter in COMMANDS[name].params:
        wanted = ", ".join(parameter.opts) if parameter.opts[0].startswith("-") else parameter.name.upper()
        assert f"| `{wanted}` |" in found[1]


def test_the_reference_names_no_option_that_does_not_exist():
    known = {option for command in COMMANDS.values() for p in command.params for option in p.opts}
    known |= {"--help", "-h", "--version", "--index-url"}
    for page in [ROOT / "docs" / language / "cli.md" for language in ("en", "zh")]:
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8"))) <= known


def test_the_version(run):
    assert run("--version") == (0, f"chiasm {__version__}\n", "")


def test_help_is_in_the_language_of_the_locale(run, monkeypatch: pytest.MonkeyPatch):
    assert "Address to listen on" in run("serve", "--help")[1]
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "监听地址" in run("serve", "--help")[1]


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LANG": "C", "LC_MESSAGES": "zh_CN"}, "zh"),
        ({"LC_ALL": "", "LANG": "zh_CN"}, "zh"),
    ],
)
def test_the_most_specific_variable_decides_the_language(environment: dict[str, str], language: str):
    assert console.language_of(environment) == language


@pytest.mark.parametrize(
    "wrong", [["nonsense"], ["serve", "--nonsense"], ["serve", "--port", "x"], ["train", "maxi"]]
)
def test_wrong_usage_is_2(run, wrong: list[str]):
    code, out, err = run(*wrong)
    assert (code, out) == (2, "")
    assert err


def test_an_error_is_told_in_the_shape_of_the_http_api(run_json, monkeypatch: pytest.MonkeyPatch):
    def fail(**_: object) -> None:
        raise NotFound("there is no such thing", "没有这个东西", param="thing")

    monkeypatch.setattr("chiasm.cli.options.load_settings", fail)
    code, answer = run_json("jobs")
    assert code == 1
    expected = {"message": "there is no such thing", "type": "invalid_request_error", "param": "thing"}
    assert answer == {"error": {**expected, "code": "not_found"}}


def test_an_error_is_told_in_chinese(run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("CHIASM_SERVER_PORT", "often")
    code, out, err = run("serve", "--print-settings")
    assert (code, out) == (2, "")
    assert err.startswith("错误：server.port：应为 int")


def test_words_after_two_dashes_are_no_options(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("CHIASM_SERVER_PORT", "often")
    assert main(["search", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_control_c_ends_with_130_and_no_traceback(run, monkeypatch: pytest.MonkeyPatch):
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chiasm.cli.options.load_settings", interrupted)
    code, _, err = run("jobs")
    assert code == 130
    assert "Traceback" not in err


def test_the_module_is_the_program():
    command = [sys.executable, "-m", "chiasm", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"chiasm {__version__}\n"


def test_json_has_no_values_that_json_does_not_know():
    told = console.plain({"a": float("nan"), "b": (1, Path("x")), 3: {"c": float("inf")}})
    assert json.loads(json.dumps(told, allow_nan=False)) == {"a": None, "b": [1, "x"], "3": {"c": None}}
