"""The units that the audio tower spells speech in, and how a written phrase is spelt in them.

English: the 39 ARPAbet phonemes without stress. Chinese: pinyin initials, and finals with their tone (1 to
5, where
5 is neutral). Unit 0 is the CTC blank. English pronunciations come from the CMU dictionary inside
pocketsphinx, a
split into two known words, or letter-to-sound rules; Chinese ones from pypinyin.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path

BLANK = 0
"""Index of the CTC blank in :data:`UNITS`."""

ARPABET = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY",
    "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
INITIALS = (
    "b", "p", "m", "f", "d", "t", "n", "l", "g", "k", "h", "j", "q", "x", "zh", "ch", "sh", "r", "z", "c",
    "s",
)  # fmt: skip
FINALS = (
    "a", "o", "e", "ai", "ei", "ao", "ou", "an", "en", "ang", "eng", "er", "i", "ia", "ie", "iao", "iou",
    "ian", "in",
    "iang", "ing", "iong", "u", "ua", "uo", "uai", "uei", "uan", "uen", "uang", "ueng", "ong", "v", "ve",
    "van", "vn",
)  # fmt: skip
TONES = 5
UNITS: tuple[str, ...] = (
    "<blank>",
    *ARPABET,
    *(f"{initial}-" for initial in INITIALS),
    *(f"{final}{tone}" for final in FINALS for tone in range(1, TONES + 1)),
)
"""All units; a CTC head has one output for each."""
FIRST_CHINESE = 1 + len(ARPABET)
"""Units from this index on belong to Chinese."""
_INDEX: Mapping[str, int] = {unit: index for index, unit in enumerate(UNITS)}

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d")
_HAN_OR_WORD = re.compile(r"[\u3400-\u9fff]+|[A-Za-z]+|\d")
_DIGITS_EN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGITS_ZH = "零一二三四五六七八九"
_LETTERS = {
    "a": "EY", "b": "B IY", "c": "S IY", "d": "D IY", "e": "IY", "f": "EH F", "g": "JH IY", "h": "EY CH",
    "i": "AY",
    "j": "JH EY", "k": "K EY", "l": "EH L", "m": "EH M", "n": "EH N", "o": "OW", "p": "P IY", "q": "K Y UW",
    "r": "AA R", "s": "EH S", "t": "T IY", "u": "Y UW", "v": "V IY", "w": "D AH B AH L Y UW", "x": "EH K S",
    "y": "W AY", "z": "Z IY",
}  # fmt: skip
_RULES = (
    ("tion", "SH AH N"), ("sion", "ZH AH N"), ("ture", "CH ER"), ("ough", "AO"), ("igh", "AY"), ("tch", "CH"),
    ("sch", "SH"), ("dge", "JH"), ("eau", "OW"), ("ph", "F"), ("sh", "SH"), ("ch", "CH"), ("th", "TH"),
    ("wh", "W"),
    ("ck", "K"), ("qu", "K W"), ("ng", "NG"), ("kn", "N"), ("wr", "R"), ("ee", "IY"), ("ea", "IY"), ("oo",
    "UW"),
    ("oa", "OW"), ("ou", "AW"), ("ow", "OW"), ("oi", "OY"), ("oy", "OY"), ("ai", "EY"), ("ay", "EY"), ("au",
    "AO"),
    ("aw", "AO"), ("ei", "EY"), ("ie", "IY"), ("ue", "UW"), ("ui", "UW"), ("ar", "AA R"), ("er", "ER"),
    ("ir", "ER"),
    ("or", "AO R"), ("ur", "ER"), ("ce", "S EH"), ("ci", "S IH"), ("ge", "JH EH"), ("gi", "JH IH"), ("bb",
    "B"),
    ("cc", "K"), ("dd", "D"), ("ff", "F"), ("gg", "G"), ("ll", "L"), ("mm", "M"), ("nn", "N"), ("pp", "P"),
    ("rr", "R"), ("ss", "S"), ("tt", "T"), ("zz", "Z"), ("a", "AE"), ("b", "B"), ("c", "K"), ("d", "D"),
    ("e", "EH"),
    ("f", "F"), ("g", "G"), ("h", "HH"), ("i", "IH"), ("j", "JH"), ("k", "K"), ("l", "L"), ("m", "M"), ("n",
    "N"),
    ("o", "AA"), ("p", "P"), ("q", "K"), ("r", "R"), ("s", "S"), ("t", "T"), ("u", "AH"), ("v", "V"), ("w",
    "W"),
    ("x", "K S"), ("y", "IY"), ("z", "Z"),
)  # fmt: skip


def words(phrase: str) -> list[str]:
    """Split an English phrase into lower-case words: letters with inner apostrophes, digits one by one as
    words."""
    flat = phrase.lower().replace("’", "'")
    return [_DIGITS_EN[int(word)] if word.isdigit() else word for word in _WORD.findall(flat)]


@cache
def dictionary_path() -> Path:
    """Where pocketsphinx keeps the CMU dictionary."""
    import pocketsphinx  # noqa: PLC0415  (heavy, and only needed where new words are added)

    return Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"


def look_up(wanted: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Read the CMU dictionary once for these words (in one pass: the whole of it would fill 40 MB).

    Returns:
        ARPAbet phonemes of each word that the dictionary has (its first pronunciation).
    """
    sought = set(wanted)
    found: dict[str, tuple[str, ...]] = {}
    with dictionary_path().open(encoding="utf-8") as lines:
        for line in lines:
            word, _, phones = line.partition(" ")
            if word in sought and word not in found:
                found[word] = tuple(phones.split())
    return found


def english(phrases: Iterable[str]) -> list[tuple[int, ...]]:
    """Spell English phrases in units; one tuple per phrase, empty where there is no letter or digit."""
    split = [words(phrase) for phrase in phrases]
    known = pronunciations({word for line in split for word in line})
    return [tuple(_INDEX[phone] for word in line for phone in known[word]) for line in split]


def pronunciations(wanted: Collection[str]) -> dict[str, tuple[str, ...]]:
    """ARPAbet phonemes of every word: from the dictionary, else as a compound, else by rule."""
    halves = {half for word in wanted for cut in range(3, len(word) - 2) for half in (word[:cut], word[cut:])}
    known = look_up({*wanted, *halves, *(word.removesuffix("'s").removesuffix("s") for word in wanted)})
    return {word: known.get(word) or _compose(word, known) for word in wanted}


def _compose(word: str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    stem = word.removesuffix("'s") if word.endswith("'s") else word.removesuffix("s")
    if stem != word and stem in known:
        return (*known[stem], "Z")
    cuts = [cut for cut in range(3, len(word) - 2) if word[:cut] in known and word[cut:] in known]
    if cuts:
        cut = min(cuts, key=lambda at: abs(2 * at - len(word)))
        return known[word[:cut]] + known[word[cut:]]
    return _by_rule(word.replace("'", ""))


def _by_rule(word: str) -> tuple[str, ...]:
    if not any(letter in "aeiouy" for letter in word):
        return tuple(" ".join(_LETTERS[letter] for letter in word).split())
    if len(word) > 3 and word.endswith("e") and word[-2] not in "aeiou":
        word = word[:-1]
    phones: list[str] = []
    at = 0
    while at < len(word):
        grapheme, sound = next(rule for rule in _RULES if word.startswith(rule[0], at))
        phones += sound.split()
        at += len(grapheme)
    return tuple(phones)


def chinese(phrase: str) -> tuple[int, ...]:
    """Spell a Chinese phrase in units; Latin letters are named one by one, digits are read as Chinese
    digits."""
    units: list[int] = []
    for piece in _HAN_OR_WORD.findall(phrase):
        if piece.isascii() and piece.isalpha():
            units += [_INDEX[phone] for letter in piece.lower() for phone in _LETTERS[letter].split()]
        else:
            units += _han(_DIGITS_ZH[int(piece)] if piece.isdigit() else piece)
    return tuple(units)


def _han(text: str) -> list[int]:
    from pypinyin import Style, pinyin  # noqa: PLC0415  (its tables take 30 MB)

    initials = pinyin(text, style=Style.INITIALS, strict=True, errors="ignore")
    finals = pinyin(text, style=Style.FINALS_TONE3, strict=True, neutral_tone_with_five=True, errors="ignore")
    units: list[int] = []
    for (initial,), (final,) in zip(initials, finals, strict=True):
        if f"{initial}-" in _INDEX:
            units.append(_INDEX[f"{initial}-"])
        units.append(_INDEX.get(final.replace("ê", "e"), _INDEX["en5"]))
    return units


def is_chinese(text: str) -> bool:
    """Say whether a text holds a Chinese character."""
    return any("\u3400" <= letter <= "\u9fff" for letter in text)
