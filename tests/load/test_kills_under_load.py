"""A short run of benchmarks/faults.py: processes are killed while callers upload, write and search."""

import os
import sys
from pathlib import Path

import faults
import pytest

ROOT = Path(__file__).parents[2]


def serve() -> tuple[list[str], dict[str, str]]:
    """``chiasm serve`` with a model that is ready at once, and the environment that it needs."""
    folder = ROOT / "tests" / "cli"
    environment = {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "src")]),
        "CHIASM_LIBRARY_SAMPLE": "false",
    }
    return [sys.executable, str(folder / "serve_with_fake_model.py")], environment


def test_nothing_that_was_acknowledged_is_lost_or_there_twice(tmp_path: Path) -> None:
    command, environment = serve()
    outcome = faults.run(
        command, tmp_path, ["library", "engine", "supervisor"], environment=environment, pause=0.7
    )
    assert outcome.kills == {"library": 1, "engine": 1, "supervisor": 1}
    assert outcome.acknowledged.attached
    assert outcome.acknowledged.items
    assert outcome.acknowledged.searches
    assert (outcome.lost, outcome.not_searchable, outcome.twice) == ([], [], [])


@pytest.fixture
def database_url(postgresql) -> str:
    return postgresql.new_database()


def test_nor_with_postgresql(database_url: str, tmp_path: Path) -> None:
    command, environment = serve()
    environment["CHIASM_LIBRARY_DATABASE_URL"] = database_url
    outcome = faults.run(command, tmp_path, ["library"], environment=environment, pause=0.7)
    assert outcome.acknowledged.attached
    assert outcome.sound
