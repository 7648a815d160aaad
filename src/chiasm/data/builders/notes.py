"""Notes of a few sentences, and what somebody types who looks for one of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

SENTENCES = 4
"""In each note."""
HELD_EVERY = 13
"""One parallel sentence in this many is never trained on."""
CALIBRATION_NOTES = 200
_LONG_WORDS = re.compile(r"[A-Za-z]{4,}")


@dataclass(frozen=True, slots=True)
class Note:
    """A text, English or Chinese, and queries that it answers: the first sentence, unless that is just what
    it says, in each language, and the longest words of the last."""

    text: str
    asked: tuple[str, ...]


def calibration_and_evaluation(sentences: Sequence[tuple[str, str]]) -> tuple[list[Note], list[Note]]:
    """Notes that the cut-offs are fitted on, and others that they are measured on.

    Args:
        sentences: (English, Chinese) pairs. Those that were held out of training come first.
    """
    held = sentences[::HELD_EVERY]
    trained = [pair for number, pair in enumerate(sentences) if number % HELD_EVERY]
    ordered = [*held, *trained]
    border = CALIBRATION_NOTES * SENTENCES
    return _notes(ordered[:border]), _notes(ordered[border:])


def _notes(sentences: Sequence[tuple[str, str]]) -> list[Note]:
    count = len(sentences) // SENTENCES
    found = []
    for number in range(count):
        said = sentences[number : count * SENTENCES : count]
        texts = [chinese if number % 2 else english for english, chinese in said]
        (english, chinese), (last, _) = said[0], said[-1]
        keywords = " ".join(sorted(_LONG_WORDS.findall(last), key=len)[-3:])
        asked = tuple(text for text in (chinese, english, keywords) if text and text not in texts)
        found.append(Note(" ".join(texts), asked))
    return found
