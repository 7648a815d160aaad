"""What ``chiasm doctor`` says about a database and a bucket."""

from dataclasses import replace

import pytest

from chiasm.cli.checks import elsewhere
from chiasm.settings import LibrarySettings, Settings
from chiasm.stores import Metadata
from postgresql_server import PostgreSQL
from s3_server import S3


def said(**library: str) -> list[tuple[str, bool, str]]:
    settings = replace(Settings(), library=LibrarySettings(**library))
    return [(check.name, check.ok, check.found + check.advice_en) for check in elsewhere(settings)]


def test_without_either_it_says_nothing() -> None:
    assert said() == []


def test_a_database_is_empty_in_use_or_away(postgresql: PostgreSQL) -> None:
    url = postgresql.new_database()
    [(name, ok, told)] = said(database_url=url)
    assert (name, ok, told.endswith("empty")) == ("database", True, True)
    metadata = Metadata(url)
    assert [ok for _, ok, _ in said(database_url=url)] == [True]  # a server that runs is not disturbed
    metadata.close()
    [(_, ok, told)] = said(database_url="postgresql://me:secret@127.0.0.1:9/library?connect_timeout=2")
    assert (ok, "secret" in told) == (False, False)


@pytest.mark.parametrize(("bucket", "fine"), [(None, True), ("no-such-bucket", False)])
def test_a_bucket_answers_or_not(s3: S3, bucket: str | None, fine: bool) -> None:
    url = f"s3://{bucket or s3.new_bucket()}"
    assert [(name, ok) for name, ok, _ in said(files_url=url, files_endpoint=s3.endpoint)] == [
        ("files", fine)
    ]
