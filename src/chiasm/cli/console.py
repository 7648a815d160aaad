"""What commands print: results on stdout (for people, or JSON for machines), everything else on stderr."""

import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chiasm.errors import ChiasmError, Language, SettingsError

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def language_of(environment: Mapping[str, str]) -> Language:
    """``zh`` when the locale that messages are wanted in is Chinese; POSIX's order of variables."""
    locale = next(
        (environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), ""
    )
    return "zh" if locale.lower().startswith("zh") else "en"


def pick(en: str, zh: str) -> str:
    """The one of the two that the user reads."""
    return zh if language_of(os.environ) == "zh" else en


def say(en: str, zh: str) -> None:
    """One line for people, on stderr."""
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(pick(en, zh))


def emit(data: Any, human: Callable[[], RenderableType], *, as_json: bool) -> None:
    """The result, on stdout: ``data`` as JSON, or what ``human`` makes of it."""
    if as_json:
        print(json.dumps(plain(data), ensure_ascii=False))
    else:
        # In a file or a pipe there is no edge at which to fold.
        width = None if sys.stdout.isatty() else 240
        Console(highlight=False, soft_wrap=True, width=width).print(human())


def emit_error(error: ChiasmError, *, as_json: bool) -> int:
    """Tell about an error, in the shape of the HTTP contract for machines; returns the exit code."""
    message = error.message(language_of(os.environ))
    if as_json:
        told = {"message": message, "type": error.kind, "param": error.param, "code": error.code}
        print(json.dumps({"error": told}, ensure_ascii=False))
    else:
        say(f"error: {message}", f"错误：{message}")
    return WRONG_USAGE if isinstance(error, SettingsError) else FAILED


@contextmanager
def progress(en: str, zh: str, *, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; call what is yielded with (done, total). Machines get none."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as bar:
        task = bar.add_task(pick(en, zh), total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update


def plain(value: Any) -> Any:
    """``value`` as what JSON knows; numbers that are not finite become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(element) for element in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)
