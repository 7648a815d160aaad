"""Chinese words for the text tower's vocabulary.

The published vocabulary knows a few hundred Chinese characters by shape only. Words of the glossary
become tokens of their own, matched longest first in the raw text, and each starts as the mean of its
translation's English token embeddings: 苹果 begins as "apple".
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from chiasm.preprocess.vocabulary import extend_tokenizer

__all__ = ["choose_words", "common_characters", "extend_tokenizer", "glosses", "translations"]

MAX_WORD = 4


def choose_words(names: Mapping[str, Sequence[str]]) -> list[str]:
    """Tokens for the Chinese names, in a stable order.

    Args:
        names: Chinese name → its English translations.

    Every character of any name is a token, so that nothing is unknown; of the words, those of at most four
    characters that do not split into two known words of two characters or more.
    """
    words = {name for name in names if len(name) <= MAX_WORD}
    kept = {w for w in words if not any(w[:i] in words and w[i:] in words for i in range(2, len(w) - 1))}
    characters = {c for name in names for c in name}
    return sorted(characters) + sorted(w for w in kept if len(w) > 1)


def common_characters() -> list[str]:
    """The 3,755 characters of GB 2312, level 1."""
    found = []
    for high in range(0xB0, 0xD8):
        for low in range(0xA1, 0xFF):
            try:
                found.append(bytes((high, low)).decode("gb2312"))
            except UnicodeDecodeError:
                continue  # five cells at the end of the level are empty
    return found


def translations(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Chinese name → English names, from (English, Chinese) pairs in order of importance."""
    table: dict[str, list[str]] = defaultdict(list)
    for en, zh in pairs:
        if en not in table[zh]:
            table[zh].append(en)
    return dict(table)


def glosses(words: Sequence[str], table: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """English texts whose token embeddings a word starts from: its own translations, else those of the
    names that contain it (at most 12, shortest names first)."""
    containing: dict[str, list[str]] = defaultdict(list)
    for name in sorted(table, key=len):
        for word in {
            name[i:j] for i in range(len(name)) for j in range(i + 1, min(len(name), i + MAX_WORD) + 1)
        }:
            if len(containing[word]) < 12 and word != name:
                containing[word].append(table[name][0])
    return [list(table[w][:2]) if w in table else containing[w] for w in words]
