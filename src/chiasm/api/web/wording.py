"""The page's strings: one JSON file per language, and which language a reader gets."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from werkzeug.datastructures import LanguageAccept

LANGUAGES = ("en", "zh")
Wording = Mapping[str, str]


@cache
def load_wording(language: str) -> Wording:
    """All strings in ``language``, which must be one of :data:`LANGUAGES`."""
    path = files("chiasm.api.web") / "translations" / f"{language}.json"
    wording: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return wording


def choose_language(remembered: str | None, accepted: LanguageAccept) -> str:
    """What the reader chose before, else what the browser asks for, else English."""
    if remembered in LANGUAGES:
        return str(remembered)
    return accepted.best_match(LANGUAGES, default="en") or "en"
