"""A file → the pieces that get vectors: passages of a text, a picture whole, stretches of sound and video."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from chiasm.library.indexing import Cut, Piece
from chiasm.library.passages import passages, title_of
from chiasm.media import decode, segments, sniff
from chiasm.modality import Modality, Text, item_of
from chiasm.preprocess import Preprocessor
from chiasm.settings import Limits, Settings

HEAD_BYTES = 4096


class MediaCutter:
    """Cuts by content; thread-safe.

    Args:
        preprocessor: of the model that makes the vectors.
    """

    def __init__(self, preprocessor: Preprocessor, settings: Settings) -> None:
        self._preprocessor = preprocessor
        self._library = settings.library
        self._limits = settings.limits
        # A file may be long: it is cut into passages. A text that is sent to be embedded may not.
        self._text_limits: Limits = replace(settings.limits, text_chars=settings.limits.file_bytes)

    def __call__(self, path: Path) -> Cut:
        """Recognise the file; see :class:`~chiasm.library.indexing.Cutter`."""
        with path.open("rb") as opened:
            kind = sniff(opened.read(HEAD_BYTES))
        if kind.modality is Modality.TEXT:
            pieces = self._text(path)
        elif kind.modality is Modality.IMAGE:
            pieces = self._whole(path)
        else:
            pieces = self._stretches(path)
        return Cut(modality=kind.modality.value, mime=kind.mime, pieces=pieces)

    def _text(self, path: Path) -> Iterator[Piece]:
        part = decode(path, self._text_limits, expect=Modality.TEXT)
        if not isinstance(part, Text):
            return
        title = title_of(part.text)
        for number, passage in enumerate(passages(part.text, self._library.passage_chars)):
            # Later passages are hard to understand without what they are about.
            words = passage.text if number == 0 or title is None else f"{title}\n{passage.text}"
            yield Piece(
                modality=Modality.TEXT.value,
                item=self._preprocessor.prepare(item_of(Text(words))),
                start=passage.start,
                end=passage.end,
                snippet=passage.text,
            )

    def _whole(self, path: Path) -> Iterator[Piece]:
        part = decode(path, self._limits, expect=Modality.IMAGE)
        yield Piece(modality=part.modality.value, item=self._preprocessor.prepare(item_of(part)))

    def _stretches(self, path: Path) -> Iterator[Piece]:
        for segment in segments(path, self._limits, self._library.segment_seconds):
            yield Piece(
                modality=segment.part.modality.value,
                item=self._preprocessor.prepare(item_of(segment.part)),
                start=segment.start,
                end=segment.end,
            )
