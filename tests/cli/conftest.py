import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoints"))

import cli_fakes

from chiasm.cli.main import main


@pytest.fixture(autouse=True)
def quiet_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, English, and no settings of the person who runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("chiasm.inference")
    module.load = cli_fakes.load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chiasm.inference", module)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command: exit code, stdout, stderr."""

    def run_now(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return run_now


@pytest.fixture
def run_json(run: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """Runs a command with ``--json``: exit code and value."""

    def run_now(*arguments: str) -> tuple[int, Any]:
        code, out, _ = run(*arguments, "--json")
        return code, json.loads(out)

    return run_now


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder with two notes, a red picture and a broken one."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "boat.txt").write_text("a boat on the sea")
    (folder / "bread.md").write_text("bread")
    cli_fakes.picture(folder / "red.png", (200, 20, 20))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    return folder
