"""What a photograph says of itself: when, where and with what it was taken. Many say nothing; none fails."""

import io
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from PIL.ExifTags import GPS, IFD, Base

Facts = dict[str, str | float]
_NORTH = {"N": 1, "S": -1}
_EAST = {"E": 1, "W": -1}
_EXIF_OF_PNG = {"exif", "Raw profile type exif"}
MAX_NAME = 128  # characters of a camera's name
_DATE = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"[+-]\d\d:\d\d|Z")
_DATES = (
    (Base.DateTimeOriginal, Base.OffsetTimeOriginal),
    (Base.DateTimeDigitized, Base.OffsetTimeDigitized),
)


def photo_facts(source: bytes | Path) -> Facts:
    """The facts that a picture's EXIF block states and that make sense.

    Returns:
        ``taken_at``: ISO 8601, of the camera's clock, with the offset from UTC if the camera knew it.
        ``latitude``, ``longitude``: degrees, north and east positive.
        ``camera``: maker and model.
    """
    try:
        with Pillow.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            if picture.format == "PNG" and not _EXIF_OF_PNG & picture.info.keys():
                return {}  # Pillow would decode all of it in search of a block at the end
            exif = picture.getexif()
            named = dict(exif)
            shot, place = dict(exif.get_ifd(IFD.Exif)), dict(exif.get_ifd(IFD.GPSInfo))
    except Exception:  # noqa: BLE001 - Pillow's EXIF parser raises whatever the bytes lead it into
        return {}
    found: Facts = {}
    for part, stated in ((_taken, shot), (_place, place), (_camera, named)):
        with suppress(Exception):  # values of any type, in any number: what makes no sense says nothing
            found |= part(stated)
    return found


def _taken(shot: Mapping[int, Any]) -> Facts:
    for tag, offset_tag in _DATES:
        found = _DATE.match(_words(shot.get(tag)))
        if found is None:
            continue
        when = datetime(*(int(number) for number in found.groups()))  # type: ignore[arg-type]  # or ValueError
        offset = _OFFSET.fullmatch(_words(shot.get(offset_tag)))
        return {"taken_at": when.isoformat() + (offset.group() if offset else "")}
    return {}


def _place(place: Mapping[int, Any]) -> Facts:
    latitude = _degrees(place[GPS.GPSLatitude], place[GPS.GPSLatitudeRef], _NORTH, 90)
    longitude = _degrees(place[GPS.GPSLongitude], place[GPS.GPSLongitudeRef], _EAST, 180)
    if latitude == longitude == 0:
        return {}  # what a receiver writes that knows nothing
    return {"latitude": latitude, "longitude": longitude}


def _degrees(parts: Any, reference: Any, signs: Mapping[str, int], most: float) -> float:
    """Degrees, minutes and seconds as one number; raises ValueError or KeyError where they are none."""
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    if not (math.isfinite(value) and 0 <= value <= most and 0 <= minutes <= 60 and 0 <= seconds <= 60):
        raise ValueError(value)
    return round(value * signs[_words(reference).upper()], 6)


def _camera(named: Mapping[int, Any]) -> Facts:
    maker, model = _words(named.get(Base.Make)), _words(named.get(Base.Model))
    if model.lower().startswith(maker.lower()):
        maker = ""  # "Canon" "Canon EOS 5D"
    camera = " ".join(f"{maker} {model}".split())[:MAX_NAME]
    return {"camera": camera} if camera else {}


def _words(value: Any) -> str:
    """A text without the padding that cameras leave; empty for anything else."""
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value.split("\0")[0] if c.isprintable()).strip()
