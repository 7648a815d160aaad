"""``chiasm backup`` and ``chiasm restore``, as they are typed."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def indexed(fake_model: None, run_json: Callable, notes: Path, tmp_path: Path) -> Path:
    """A data directory with the notes in it."""
    code, _ = run_json("index", str(notes), "--data-dir", str(tmp_path / "data"))
    assert code == 0
    return tmp_path / "data"


def test_there_and_back(run_json: Callable, run: Callable, indexed: Path, tmp_path: Path) -> None:
    backup, new = str(tmp_path / "backup"), str(tmp_path / "new")
    code, made = run_json("backup", backup, "--data-dir", str(indexed))
    assert code == 0
    assert made["manifest"]["references"] == 4
    code, told, _ = run("backup", backup, "--data-dir", str(indexed))
    assert (code, "4 files elsewhere" in told) == (0, True)
    code, back = run_json("restore", backup, "--data-dir", new)
    assert (code, back["references"], back["library"]) == (0, 4, made["manifest"]["library"])
    code, found = run_json("search", "bread", "--data-dir", new)
    assert code == 0
    assert found["data"] if isinstance(found, dict) else found
    code, refused = run_json("restore", backup, "--data-dir", new)
    assert (code, refused["error"]["code"]) == (1, "not_empty")


def test_what_cannot_be(run_json: Callable, tmp_path: Path) -> None:
    code, told = run_json("backup", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "nowhere"))
    assert (code, told["error"]["code"]) == (1, "not_found")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("dear …")
    code, told = run_json("restore", str(tmp_path / "full"), "--data-dir", str(tmp_path / "new"))
    assert (code, told["error"]["code"]) == (1, "not_found")
