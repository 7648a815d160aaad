"""A file → the pieces that get vectors: passages of a text, a picture whole, stretches of sound and video,
each page of a PDF as passages and as a picture, the passages of a Word document and the pictures in it; of
pictures also the words that are written in them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from chiasm.library.indexing import Cut, Piece
from chiasm.library.passages import passages, title_of
from chiasm.media import (
    TextReader,
    blocks,
    decode,
    decoded_pictures,
    pdf_pages,
    photo_facts,
    picture_fingerprint,
    read_docx,
    segments,
    sniff,
    text_fingerprint,
)
from chiasm.media.types import DOCX, PDF
from chiasm.modality import Image, Modality, Part, Text, item_of
from chiasm.preprocess.late import Prepares
from chiasm.settings import Limits, Settings

HEAD_BYTES = 4096


class MediaCutter:
    """Cuts by content; thread-safe.

    Args:
        preprocessor: of the model that makes the vectors.
        reader: of the words in pictures; without one they are not read.
    """

    def __init__(
        self, preprocessor: Prepares, settings: Settings, *, reader: TextReader | None = None
    ) -> None:
        self._reader = reader
        self._preprocessor = preprocessor
        self._library = settings.library
        self._limits = settings.limits
        # A file may be long: it is cut into passages. A text that is sent to be embedded may not.
        self._text_limits: Limits = replace(settings.limits, text_chars=settings.limits.file_bytes)

    def __call__(self, path: Path) -> Cut:
        """Recognise the file; see :class:`~chiasm.library.indexing.Cutter`."""
        with path.open("rb") as opened:
            kind = sniff(opened.read(HEAD_BYTES))
        if kind == PDF:
            pieces = self._pages(path)
        elif kind == DOCX:
            pieces = self._document(path)
        elif kind.modality is Modality.TEXT:
            pieces = self._text(path)
        elif kind.modality is Modality.IMAGE:
            pieces = self._whole(path)
        else:
            pieces = self._stretches(path)
        facts = photo_facts(path) if kind.modality is Modality.IMAGE else {}
        return Cut(modality=kind.modality.value, mime=kind.mime, pieces=pieces, attributes=facts)

    def _text(self, path: Path) -> Iterator[Piece]:
        part = decode(path, self._text_limits, expect=Modality.TEXT)
        if not isinstance(part, Text):
            return
        yield from self._passages(part.text, title_of(part.text))

    def _passages(
        self, text: str, title: str | None, *, page: int | None = None, first: bool = True
    ) -> Iterator[Piece]:
        """Passages of a text, or of a page of it; ``first``: it begins with the title."""
        for number, passage in enumerate(passages(text, self._library.passage_chars)):
            # Later passages are hard to understand without what they are about.
            words = passage.text if title is None or (first and number == 0) else f"{title}\n{passage.text}"
            yield Piece(
                modality=Modality.TEXT.value,
                item=self._preprocessor.prepare(item_of(Text(words))),
                start=passage.start,
                end=passage.end,
                snippet=passage.text,
                page=page,
                fingerprint=text_fingerprint(passage.text),
            )

    def _pages(self, path: Path) -> Iterator[Piece]:
        title: str | None = None
        for page in pdf_pages(path, self._limits):
            first = title is None
            title = title or title_of(page.text)
            yield from self._passages(page.text, title, page=page.number, first=first)
            if page.picture is not None:
                yield self._picture(page.picture, page=page.number)
                if not page.text.strip():  # it was scanned
                    yield from self._written(page.picture, page=page.number)

    def _document(self, path: Path) -> Iterator[Piece]:
        document = read_docx(path, self._limits)
        yield from self._passages(document.text, title_of(document.text))
        for position, picture in decoded_pictures(path, self._limits, document):
            yield self._picture(picture, start=position)
            yield from self._written(picture, start=position)

    def _whole(self, path: Path) -> Iterator[Piece]:
        picture = decode(path, self._limits, expect=Modality.IMAGE)
        yield self._picture(picture)
        yield from self._written(picture)

    def _picture(self, part: Part, *, page: int | None = None, start: float | None = None) -> Piece:
        return Piece(
            modality=part.modality.value,
            item=self._preprocessor.prepare(item_of(part)),
            page=page,
            start=start,
            fingerprint=picture_fingerprint(part) if isinstance(part, Image) else None,
        )

    def _written(self, part: Part, *, page: int | None = None, start: float | None = None) -> Iterator[Piece]:
        """The words in a picture, block by block."""
        if self._reader is None or not isinstance(part, Image):
            return
        for words in blocks(self._reader.read(part.pixels), self._library.passage_chars):
            yield Piece(
                modality=Modality.TEXT.value,
                item=self._preprocessor.prepare(item_of(Text(words.text))),
                start=start,
                page=page,
                snippet=words.text,
                box=words.box,
                fingerprint=text_fingerprint(words.text),
            )

    def _stretches(self, path: Path) -> Iterator[Piece]:
        for segment in segments(path, self._limits, self._library.segment_seconds):
            yield Piece(
                modality=segment.part.modality.value,
                item=self._preprocessor.prepare(item_of(segment.part)),
                start=segment.start,
                end=segment.end,
            )
