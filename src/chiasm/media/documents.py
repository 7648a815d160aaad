"""One document → one part, where only one is asked for: its words or, without any, a picture."""

from collections.abc import Iterator

from chiasm.errors import ChiasmError, InvalidInput, UnsupportedMedia
from chiasm.media.bounds import Source
from chiasm.media.docx import Docx, docx_pictures, read_docx
from chiasm.media.image import decode_image
from chiasm.media.pdf import pdf_pages
from chiasm.media.types import PDF, MediaType
from chiasm.modality import Image, Part, Text
from chiasm.settings import Limits


def document_part(source: Source, kind: MediaType, limits: Limits) -> Part:
    """The first ``limits.text_chars`` characters of a document; without any (a scan), its first picture.

    Raises:
        UnsupportedMedia: encrypted, damaged, or empty.
        TooLarge: beyond one of the limits.
    """
    if kind != PDF:
        document = read_docx(source, limits)
        words = document.text[: limits.text_chars].strip()
        return Text(words) if words else docx_picture(source, limits, document=document)
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


def docx_picture(
    source: Source, limits: Limits, *, at: float | None = None, document: Docx | None = None
) -> Image:
    """The first embedded picture, or the first that stands at character ``at`` or later.

    Raises:
        InvalidInput: there is none.
        ChiasmError: as ``read_docx``.
    """
    read = document or read_docx(source, limits)
    for _, picture in decoded_pictures(source, limits, read, at=at):
        return picture
    raise InvalidInput(
        "expected a document with a picture, got one without", "应为含有图片的文档，实际没有图片"
    )


def decoded_pictures(
    source: Source, limits: Limits, document: Docx, *, at: float | None = None
) -> Iterator[tuple[int, Image]]:
    """The embedded pictures with their places; those of kinds that are not read (EMF, say) are left out."""
    for picture in docx_pictures(source, limits, document, at=at):
        try:
            yield picture.position, decode_image(picture.data, limits)
        except ChiasmError:
            continue  # a document is more than one bad picture in it


def _words(source: Source, limits: Limits) -> str:
    words = ""
    for page in pdf_pages(source, limits, side=0):
        words = f"{words}\n\n{page.text}".strip()
        if len(words) >= limits.text_chars:
            break
    return words[: limits.text_chars].rstrip()
