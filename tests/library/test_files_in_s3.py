"""A library whose copied files are in S3."""

import shutil
from pathlib import Path

from library_fakes import FakeEmbedder, cutter, settings_for, vector_of

from chiasm.library import Library
from chiasm.settings import Settings
from s3_server import S3


def settings_of(s3: S3, bucket: str, folder: Path) -> Settings:
    return settings_for(
        folder, files_url=f"s3://{bucket}/mine", files_endpoint=s3.endpoint, files_cache_bytes=1000
    )


def test_uploads_are_kept_indexed_and_deleted_there(s3: S3, tmp_path: Path) -> None:
    bucket = s3.new_bucket()
    settings = settings_of(s3, bucket, tmp_path / "data")
    with Library(settings, FakeEmbedder(), cutter) as library:
        library.create_store("mine")
        files = [library.upload_file(f"text number {n}".encode(), f"{n}.txt") for n in range(5)]
        library.attach_files("mine", [file.id for file in files])
    assert len(s3.keys(bucket)) == 5
    shutil.rmtree(tmp_path / "data" / "cache")
    with Library(settings, FakeEmbedder(), cutter) as library:
        assert {e.status for e in library.add_files("mine", [file.id for file in files])} == {"completed"}
        hit = library.search("mine", vector_of("text number 3"), "text")[0]
        assert hit.name == "3.txt"
        assert library.path_of(hit.file_id).read_bytes() == b"text number 3"
        for file in files:
            library.delete_file(file.id)
    assert s3.keys(bucket) == []


def test_a_file_that_is_gone_from_there_fails_alone(s3: S3, tmp_path: Path) -> None:
    bucket = s3.new_bucket()
    with Library(settings_of(s3, bucket, tmp_path / "data"), FakeEmbedder(), cutter) as library:
        library.create_store("mine")
        lost, found = (library.upload_file(text, "x.txt") for text in (b"one text", b"another text"))
        shutil.rmtree(tmp_path / "data" / "cache" / (lost.sha256 or "")[:2])
        s3.client().delete_object(Bucket=bucket, Key=f"mine/{lost.sha256[:2]}/{lost.sha256[2:]}")
        states = [entry.status for entry in library.add_files("mine", [lost.id, found.id])]
    assert states == ["failed", "completed"]
