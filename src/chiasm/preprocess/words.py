"""Tokens of a text put together into what a reader points at: words; of Chinese the tokens themselves."""

from collections.abc import Sequence
from typing import NamedTuple

from chiasm.preprocess.places import Place


class Word(NamedTuple):
    """Characters ``start`` to ``end`` of a text, and the numbers of its tokens."""

    text: str
    start: int
    end: int
    tokens: tuple[int, ...]


def words_of(text: str, places: Sequence[Place]) -> list[Word]:
    """The words of a text whose tokens stand at ``places``, in their order. Tokens that touch are one word if
    both sides of the seam are letters or digits that are written with spaces between words; punctuation is no
    word."""
    found: list[Word] = []
    for number, place in enumerate(places):
        if place.span is None:
            continue
        start, end = _trimmed(text, int(place.span[0]), int(place.span[1]))
        if not any(character.isalnum() for character in text[start:end]):
            continue
        last = found[-1] if found else None
        if last is not None and start < last.end:  # two tokens of one character
            found[-1] = last._replace(tokens=(*last.tokens, number))
        elif last is not None and start == last.end and _joins(text[start - 1]) and _joins(text[start]):
            found[-1] = Word(text[last.start : end], last.start, end, (*last.tokens, number))
        else:
            found.append(Word(text[start:end], start, end, (number,)))
    return found


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without the spaces that some tokenizers count in."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _joins(character: str) -> bool:
    return (
        character.isalnum()
        and not "\u2e80" <= character <= "\u9fff"
        and not "\uac00" <= character <= "\ufaff"
    )
