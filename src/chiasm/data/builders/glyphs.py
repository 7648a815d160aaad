"""Icon sets of user interfaces and maps as a source of line art and of names that emoji do not have.

Their drawings are called by file names ("anvil-outline", "coffee-cup-2"). One is kept where its name without
such endings is a name or keyword of the glossary or of an emoji; a set gives each name at most twice, so
that an outline and its filled twin both come along.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator

from chiasm.data.builders.icons import Drawing, render_svg, svg_document
from chiasm.data.builders.sources import Sources

GLYPH_SETS = (
    "lucide",
    "tabler",
    "mdi",
    "ph",
    "game-icons",
    "icon-park",
    "temaki",
    "maki",
    "healthicons",
    "fa6-solid",
    "flat-color-icons",
    "fluent-color",
    "streamline-flex-color",
    "streamline-sharp-color",
    "streamline-plump-color",
    "streamline-kameleon-color",
    "streamline-ultimate-color",
    "streamline-freehand-color",
    "streamline-stickies-color",
)
TIMES = 2
_ENDING = re.compile(
    r"-(outline|outlined|filled|fill|bold|thin|light|duotone|solid|line|alt|variant|negative|twotone|\d+(px)?)$"
)


def glyphs(sources: Sources, names: Collection[str]) -> Iterator[Drawing]:
    """Drawings of all sets whose name is among ``names``; labels are those of clip art."""
    for family in GLYPH_SETS:
        icons = json.loads(
            (sources.package(f"@iconify-json/{family}") / "icons.json").read_text(encoding="utf-8")
        )
        had: Counter[str] = Counter()
        for slug, icon in icons["icons"].items():
            name = glyph_name(slug)
            if name in names and had[name] < TIMES and not icon.get("hidden"):
                had[name] += 1
                yield Drawing({"title": name, "folder": family}, render_svg, svg_document(icon, icons))


def glyph_name(slug: str) -> str:
    """``"coffee-cup-2-outline"`` → ``"coffee cup"``."""
    before = ""
    while before != slug:
        before, slug = slug, _ENDING.sub("", slug)
    return slug.replace("-", " ")
