"""EXIF: what photographs say of themselves, and what is not to be believed."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from PIL.ExifTags import GPS, IFD, Base

from chiasm.media import photo_facts

SOUTH_WEST = {
    GPS.GPSLatitudeRef: "S",
    GPS.GPSLatitude: (33.0, 51.0, 24.0),
    GPS.GPSLongitudeRef: "W",
    GPS.GPSLongitude: (70.0, 30.0, 0.0),
}


def photo(
    named: dict[int, Any] | None = None,
    shot: dict[int, Any] | None = None,
    place: dict[int, Any] | None = None,
    kind: str = "JPEG",
) -> bytes:
    exif = Pillow.Exif()
    exif.update(named or {})
    exif.get_ifd(IFD.Exif).update(shot or {})
    exif.get_ifd(IFD.GPSInfo).update(place or {})
    buffer = io.BytesIO()
    Pillow.new("RGB", (8, 8)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


def test_when_where_and_with_what(tmp_path: Path) -> None:
    data = photo(
        {Base.Make: "Canon", Base.Model: "Canon EOS 5D\0\0"},
        {Base.DateTimeOriginal: "2024:05:01 12:30:09", Base.OffsetTimeOriginal: "+08:00"},
        SOUTH_WEST,
    )
    (tmp_path / "x.jpg").write_bytes(data)
    assert photo_facts(tmp_path / "x.jpg") == {
        "taken_at": "2024-05-01T12:30:09+08:00",
        "latitude": -33.856667,
        "longitude": -70.5,
        "camera": "Canon EOS 5D",
    }


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_of_every_kind_that_has_it(kind: str) -> None:
    facts = photo_facts(photo({Base.Make: "Nikon", Base.Model: "D70"}, kind=kind))
    assert facts == {"camera": "Nikon D70"}


def test_the_other_date_and_no_offset() -> None:
    shot = {Base.DateTimeOriginal: "    :  :     :  :  ", Base.DateTimeDigitized: "2001:02:03 04:05:06"}
    assert photo_facts(photo(shot=shot)) == {"taken_at": "2001-02-03T04:05:06"}


@pytest.mark.parametrize(
    "shot",
    [
        {Base.DateTimeOriginal: "0000:00:00 00:00:00"},
        {Base.DateTimeOriginal: "2024:13:41 99:00:00"},
        {Base.DateTimeOriginal: "yesterday"},
        {Base.DateTimeOriginal: 20240501},
    ],
)
def test_a_date_that_is_none_says_nothing(shot: dict[int, Any]) -> None:
    assert photo_facts(photo({Base.Model: "D70"}, shot)) == {"camera": "D70"}


@pytest.mark.parametrize(
    "changed",
    [
        {GPS.GPSLatitude: (0.0, 0.0, 0.0), GPS.GPSLongitude: (0.0, 0.0, 0.0)},
        {GPS.GPSLatitude: (91.0, 0.0, 0.0)},
        {GPS.GPSLongitude: (181.0, 0.0, 0.0)},
        {GPS.GPSLatitude: (10.0, 99.0, 0.0)},
        {GPS.GPSLatitude: (10.0, 9.0)},
        {GPS.GPSLatitudeRef: "X"},
        {GPS.GPSLatitudeRef: ""},
    ],
)
def test_a_place_that_is_none_says_nothing(changed: dict[int, Any]) -> None:
    assert photo_facts(photo(place=SOUTH_WEST | changed)) == {}


GOOD = photo({Base.Make: "Nikon"}, {Base.DateTimeOriginal: "2024:05:01 12:30:09"}, SOUTH_WEST)


@pytest.mark.parametrize("position", range(0, GOOD.index(b"\xff\xdb"), 3))
def test_a_damaged_block_is_never_an_error(position: int) -> None:
    facts = photo_facts(GOOD[:position] + b"\xff\xff\xff" + GOOD[position + 3 :])
    assert facts.keys() <= {"taken_at", "latitude", "longitude", "camera"}


def test_what_says_nothing() -> None:
    assert photo_facts(photo()) == {}
    assert photo_facts(b"no picture") == {}
    assert photo_facts(Path("/nowhere.jpg")) == {}
    assert photo_facts(photo({Base.Model: "\x1b[31m" + "x" * 500})) == {"camera": "[31m" + "x" * 124}
