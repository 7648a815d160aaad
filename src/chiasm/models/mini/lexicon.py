"""Which known phrase was said: CTC scores of a whole lexicon, both languages, in a few milliseconds."""

import json
import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import CheckpointError
from chiasm.models.mini.phonemes import (
    BLANK,
    FIRST_CHINESE,
    INITIALS,
    TONES,
    UNITS,
    chinese,
    english,
    is_chinese,
)

_MAX_BYTES = 16 << 20
_CANDIDATES = 256
_MISSING = 3.0  # nats that a heard unit costs an entry which lacks it, in the first, rough pass
_LEAST = -7.0  # log-probability under which a unit counts as not heard, in the rough pass
_FIRST_FINAL = FIRST_CHINESE + len(INITIALS)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A phrase that may have been said.

    Attributes:
        text: as the lexicon writes it.
        share: its part of the probability of all candidates, 0 to 1.
        fit: probability per unit against the best path without a lexicon, 0 to 1: 1 is a perfect spelling.
    """

    text: str
    share: float
    fit: float


class Lexicon:
    """Phrases with their spelling in :data:`~chiasm.models.mini.phonemes.UNITS`. Immutable; thread-safe.

    Args:
        texts: the phrases. spellings: their units, none of them empty.
    """

    def __init__(self, texts: Sequence[str], spellings: Sequence[Sequence[int]]) -> None:
        self.texts = tuple(texts)
        self.counts = np.array([len(units) for units in spellings], np.int64)
        self.units = np.array([unit for units in spellings for unit in units], np.uint8)
        self._starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def of(cls, phrases: Iterable[str]) -> "Lexicon":
        """Spell phrases of either language; those without a letter are left out, repeats too."""
        wanted = list(dict.fromkeys(phrase.strip() for phrase in phrases))
        latin = [phrase for phrase in wanted if not is_chinese(phrase)]
        spelt = dict(zip(latin, english(latin), strict=True))
        spelt |= {phrase: chinese(phrase) for phrase in wanted if phrase not in spelt}
        kept = [phrase for phrase in wanted if spelt[phrase]]
        return cls(kept, [spelt[phrase] for phrase in kept])

    def extended(self, phrases: Iterable[str]) -> "Lexicon":
        """This lexicon and more phrases, such as the names in a user's library."""
        known = set(self.texts)
        more = Lexicon.of(phrase for phrase in phrases if phrase.strip() not in known)
        both = Lexicon((), ())
        both.texts = self.texts + more.texts
        both.counts = np.concatenate([self.counts, more.counts])
        both.units = np.concatenate([self.units, more.units])
        both._starts = np.concatenate([[0], np.cumsum(both.counts)[:-1]]).astype(np.int64)[: len(both.texts)]
        return both

    def english(self) -> tuple[str, ...]:
        """The phrases without a Chinese character."""
        return tuple(text for text in self.texts if not is_chinese(text))

    def to_bytes(self) -> bytes:
        """Compressed: length of a JSON header, the header (texts, counts), the units."""
        header = json.dumps(
            {"texts": self.texts, "counts": self.counts.tolist()}, ensure_ascii=False
        ).encode()
        return zlib.compress(struct.pack("<I", len(header)) + header + self.units.tobytes(), 9)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Lexicon":
        """Undo :meth:`to_bytes`.

        Raises:
            CheckpointError: these bytes are not a lexicon.
        """
        try:
            raw = zlib.decompressobj().decompress(data, _MAX_BYTES)
            (size,) = struct.unpack_from("<I", raw)
            header = json.loads(raw[4 : 4 + size])
            texts, counts = header["texts"], [int(count) for count in header["counts"]]
            units = np.frombuffer(raw[4 + size :], np.uint8)
        except (zlib.error, struct.error, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"expected a lexicon, got {error}", f"应为词表，实际：{error}") from error
        fits = len(texts) == len(counts) and sum(counts) == len(units) and min(counts, default=1) > 0
        if not fits or units.max(initial=0) >= len(UNITS):
            raise CheckpointError("expected a lexicon whose parts agree", "词表各部分应彼此一致")
        cuts = np.cumsum(counts)[:-1]
        return cls(
            [str(text) for text in texts], [part.tolist() for part in np.split(units, cuts)] if counts else []
        )

    def hear(self, logs: NDArray[np.float32], limit: int = 5, *, tones: float = 0.2) -> list[Heard]:
        """Rank the phrases for one clip.

        Args:
            logs: CTC log-probabilities [steps, units].
            limit: how many to return. tones: share of a final's probability that any of its tones may claim
                (tones of real voices are heard less surely than syllables).

        Returns:
            The best first; empty when nothing but blanks was heard or no phrase fits into the steps.
        """
        if not len(self) or not len(logs):
            return []
        soft = soften_tones(logs.astype(np.float64), tones)
        path = soft.argmax(1)
        heard = int((path[np.concatenate([[True], path[1:] != path[:-1]])] != BLANK).sum())
        if heard == 0:
            return []
        chosen = self._rough(soft, heard)
        scores = self._exact(np.exp(soft), chosen)
        order = np.argsort(-scores, kind="stable")[:limit]
        if not np.isfinite(scores[order[0]]):
            return []
        share = np.exp(scores - scores[order[0]])
        share /= share.sum()
        best = float(soft.max(1).sum())
        return [
            Heard(
                text=self.texts[int(chosen[i])],
                share=float(share[i]),
                fit=math.exp(min(0.0, (float(scores[i]) - best) / max(heard, int(self.counts[chosen[i]])))),
            )
            for i in order
            if np.isfinite(scores[i])
        ]

    def _rough(self, logs: NDArray[np.float64], heard: int) -> NDArray[np.int64]:
        """Entries most of whose units sound somewhere in the clip, and that have about as many."""
        present = np.maximum(logs.max(0), _LEAST)
        scores = np.add.reduceat(present[self.units], self._starts) - _MISSING * np.maximum(
            0, heard - self.counts
        )
        scores[self.counts > len(logs)] = -np.inf
        count = min(_CANDIDATES, len(self))
        return np.asarray(np.argpartition(-scores, count - 1)[:count], np.int64)

    def _exact(self, chances: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-probability of each chosen entry (Graves et al. 2006, section 4.1, rescaled in each step)."""
        counts = self.counts[chosen]
        states = 2 * int(counts.max()) + 1
        labels = np.full((len(chosen), states), BLANK, np.int64)
        for row, entry in enumerate(chosen):
            start, count = self._starts[entry], counts[row]
            labels[row, 1 : 2 * count : 2] = self.units[start : start + count]
        skip = np.zeros(labels.shape)
        skip[:, 2:] = (labels[:, 2:] != BLANK) & (labels[:, 2:] != labels[:, :-2])
        real = (np.arange(states) < (2 * counts + 1)[:, None]).astype(np.float64)
        alpha = np.zeros(labels.shape)
        alpha[:, :2] = chances[0][labels[:, :2]]
        total = np.zeros(len(chosen))
        for frame in chances[1:]:
            moved = alpha.copy()
            moved[:, 1:] += alpha[:, :-1]
            moved[:, 2:] += alpha[:, :-2] * skip[:, 2:]
            alpha = moved * frame[labels] * real
            scale = np.maximum(alpha.max(1), 1e-300)
            alpha /= scale[:, None]
            total += np.log(scale)
        rows = np.arange(len(chosen))
        ends = alpha[rows, 2 * counts] + alpha[rows, 2 * counts - 1]
        with np.errstate(divide="ignore"):
            return np.asarray(total + np.log(ends), np.float64)


def soften_tones(logs: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Let each tone of a final have ``share`` of what its sisters got: log-probabilities [steps, units] →
    the same."""
    if share <= 0:
        return logs
    chances = np.exp(logs)
    finals = chances[:, _FIRST_FINAL:].reshape(len(logs), -1, TONES)
    finals += share * (finals.sum(2, keepdims=True) - finals)
    return np.log(chances + 1e-12)


def english_share(logs: NDArray[np.float32]) -> float:
    """How much of what was heard, blanks aside, is English phonemes: 0 (Chinese) to 1; 0.5 when nothing
    was."""
    chances = np.exp(logs.astype(np.float64)).sum(0)
    latin, han = chances[1:FIRST_CHINESE].sum(), chances[FIRST_CHINESE:].sum()
    return float((latin + 1e-6) / (latin + han + 2e-6))
