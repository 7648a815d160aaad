"""What every test may use."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from postgresql_server import PostgreSQL
    from s3_server import S3


# servers that tests start read words in pictures only where a test is about them: it takes time
os.environ.setdefault("CHIASM_LIBRARY_OCR", "false")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small chiasm-mini of random numbers for ``chiasm.load(tiny_checkpoint)``; leave it as it is."""
    from tiny_model import write_tiny_checkpoint

    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="session")
def postgresql() -> Iterator["PostgreSQL"]:
    """A real PostgreSQL server that the tests start themselves."""
    from postgresql_server import running

    with running() as server:
        if server is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator["S3"]:
    """A real S3-compatible server that the tests start themselves."""
    from s3_server import running

    with running() as server:
        yield server


@pytest.fixture
def s3(s3_server: "S3", monkeypatch: pytest.MonkeyPatch) -> "S3":
    """The server, and its credentials where every program looks for them."""
    from s3_server import CREDENTIALS

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A database that is not there yet, of each kind: what ``Metadata`` takes."""
    if request.param == "sqlite":
        return tmp_path / "library.sqlite"
    url: str = request.getfixturevalue("postgresql").new_database()
    return url
