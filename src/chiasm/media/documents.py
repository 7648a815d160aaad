"""One document → one part, where only one is asked for: its words or, without any, a picture."""

from chiasm.errors import UnsupportedMedia
from chiasm.media.bounds import Source
from chiasm.media.pdf import pdf_pages
from chiasm.modality import Image, Part, Text
from chiasm.settings import Limits


def document_part(source: Source, limits: Limits) -> Part:
    """The first ``limits.text_chars`` characters of a PDF; of one that has none (a scan), its first page.

    Raises:
        UnsupportedMedia: encrypted, damaged, or empty.
        TooLarge: beyond one of the limits.
    """
    words = _words(source, limits)
    return Text(words) if words else page_picture(source, limits, 1)


def page_picture(source: Source, limits: Limits, page: int, *, side: int = 1024) -> Image:
    """A page of a PDF whose longer side is ``side`` pixels; raises as ``pdf_pages``."""
    for found in pdf_pages(source, limits, side=side, only=page):
        if found.picture is not None:
            return found.picture
    raise UnsupportedMedia(
        f"expected a PDF whose page {page} can be drawn, got one where it cannot",
        f"应为第 {page} 页可显示的 PDF，实际无法显示",
    )


def _words(source: Source, limits: Limits) -> str:
    words = ""
    for page in pdf_pages(source, limits, side=0):
        words = f"{words}\n\n{page.text}".strip()
        if len(words) >= limits.text_chars:
            break
    return words[: limits.text_chars].rstrip()
