"""What a photograph says of itself becomes attributes; what people say of it wins."""

import io
from pathlib import Path

import numpy as np
import pytest
from library_fakes import HashEmbedder, settings_for
from PIL import Image as Pillow
from PIL.ExifTags import IFD, Base

from chiasm.library import Library, open_library


def photo(year: int) -> bytes:
    exif = Pillow.Exif()
    exif[Base.Model] = "D70"
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = f"{year}:05:01 12:30:09"
    buffer = io.BytesIO()
    Pillow.new("RGB", (8, 8), (year % 256, 0, 0)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.fixture
def library(tmp_path: Path):
    with open_library(settings_for(tmp_path / "data"), HashEmbedder()) as opened:
        opened.create_store("mine")
        yield opened


def test_photographs_are_filtered_by_what_they_say(library: Library, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    for year in (2022, 2023, 2024):
        (tmp_path / "media" / f"{year}.jpg").write_bytes(photo(year))
    library.index_folder("mine", tmp_path / "media")
    since = {"type": "gte", "key": "taken_at", "value": "2023"}
    hits = library.search("mine", np.ones(32), "text", filters=since, threshold=0)
    assert {hit.name for hit in hits} == {"2023.jpg", "2024.jpg"}
    assert hits[0].attributes["camera"] == "D70"


def test_what_was_set_wins_and_stays(library: Library, tmp_path: Path) -> None:
    entry = library.add_file("mine", photo(2024), "x.jpg", {"camera": "my own", "album": "spring"})
    expected = {"camera": "my own", "album": "spring", "taken_at": "2024-05-01T12:30:09"}
    assert entry.attributes == expected
    uploaded = library.upload_file(photo(2023), "y.jpg")
    library.attach_files("mine", [uploaded.id], attributes={"taken_at": "a while ago"})
    (entry,) = library.add_files("mine", [uploaded.id])
    assert entry.attributes == {"taken_at": "a while ago", "camera": "D70"}


def test_a_photograph_that_changed_keeps_what_was_set(library: Library, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    path = tmp_path / "media" / "x.jpg"
    path.write_bytes(photo(2022))
    library.index_folder("mine", tmp_path / "media")
    entry = library.list_files("mine").data[0]
    library.set_attributes("mine", entry.file.id, {"album": "spring"})
    path.write_bytes(photo(2024))
    assert library.index_folder("mine", tmp_path / "media").changed == 1
    attributes = library.entry("mine", entry.file.id).attributes
    assert attributes == {"album": "spring", "taken_at": "2024-05-01T12:30:09", "camera": "D70"}


def test_there_is_room_for_sixteen(library: Library) -> None:
    mine = {f"key{i}": i for i in range(15)}
    entry = library.add_file("mine", photo(2024), "x.jpg", mine)
    assert len(entry.attributes) == 16
    assert mine.items() <= entry.attributes.items()
