"""A long text into passages that begin and end where its author paused."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# After a full stop of either script (with closing quotes), or at a line's end.
_SENTENCE_END = re.compile(r"(?<=[。！？；…])[”’」』）]*|(?<=[.!?;])[\"')\]]*(?=\s)|\n")
_PARAGRAPH_END = re.compile(r"\n[ \t\r]*\n")
_TITLE = re.compile(r"\A\s*(?:#+\s*)?(\S[^\n]{0,119})(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Passage:
    """Characters ``start`` to ``end`` of a text."""

    start: int
    end: int
    text: str


def title_of(text: str) -> str | None:
    """The first line, without Markdown's marks, if it is short enough to be a title."""
    found = _TITLE.match(text)
    return found.group(1).strip() if found else None


def passages(text: str, size: int) -> Iterator[Passage]:
    """Non-empty passages of at most ``size`` characters, in order.

    Paragraphs are kept together while they fit; a longer one is cut between sentences, and a longer
    sentence wherever it must be.
    """
    start = end = None
    for piece_start, piece_end in _pieces(text, size):
        if start is None or end is None:
            start, end = piece_start, piece_end
        elif piece_end - start <= size:
            end = piece_end
        else:
            yield from _trimmed(text, start, end)
            start, end = piece_start, piece_end
    if start is not None and end is not None:
        yield from _trimmed(text, start, end)


def _pieces(text: str, size: int) -> Iterator[tuple[int, int]]:
    for start, end in _cut(text, 0, len(text), _PARAGRAPH_END):
        if end - start <= size:
            yield start, end
            continue
        for sentence_start, sentence_end in _cut(text, start, end, _SENTENCE_END):
            for hard in range(sentence_start, sentence_end, size):
                yield hard, min(hard + size, sentence_end)


def _cut(text: str, start: int, end: int, border: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    for found in border.finditer(text, start, end):
        if found.end() > start:
            yield start, found.end()
            start = found.end()
    if start < end:
        yield start, end


def _trimmed(text: str, start: int, end: int) -> Iterator[Passage]:
    piece = text[start:end]
    kept = piece.strip()
    if kept:
        begin = start + len(piece) - len(piece.lstrip())
        yield Passage(begin, begin + len(kept), kept)
