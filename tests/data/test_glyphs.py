"""Icon sets as line art: which icons are taken, and what they are called."""

import json
from pathlib import Path

import pytest

from chiasm.data.builders.glyphs import GLYPH_SETS, TIMES, glyph_name, glyphs
from chiasm.data.builders.sources import Sources


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("anvil", "anvil"),
        ("coffee-cup-2-outline", "coffee cup"),
        ("animal-snake", "animal snake"),
        ("airport-15", "airport"),
        ("document-20-filled", "document"),
        ("outline", "outline"),
    ],
)
def test_a_file_name_without_its_endings_is_a_name(slug: str, name: str) -> None:
    assert glyph_name(slug) == name


def test_known_names_are_taken_at_most_twice_from_a_set(tmp_path: Path) -> None:
    body = {"body": '<circle cx="8" cy="8" r="7"/>'}
    slugs = ["anvil", "anvil-outline", "anvil-2", "hammer", "settings", "tongs"]
    for family in GLYPH_SETS:
        folder = tmp_path / "node_modules" / "@iconify-json" / family
        folder.mkdir(parents=True)
        icons = {slug: body | ({"hidden": True} if slug == "tongs" else {}) for slug in slugs}
        (folder / "icons.json").write_text(json.dumps({"icons": icons, "width": 16}), encoding="utf-8")
    drawings = list(glyphs(Sources(npm=tmp_path), {"anvil", "hammer", "tongs"}))
    titles = [drawing.label["title"] for drawing in drawings if drawing.label["folder"] == "lucide"]
    assert titles == ["anvil"] * TIMES + ["hammer"]
    assert len(drawings) == 3 * len(GLYPH_SETS)
    assert b'viewBox="0 0 16 16"' in drawings[0].data
