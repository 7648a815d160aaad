"""English words in sound, by pocketsphinx with the lexicon for a grammar. No torch.

Its acoustic model learnt from people, which the voices that the audio tower learns from are not.
Constrained to known
phrases it is right far more often than with its own language model.
"""

import re
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_RATE = 16_000
_FRAME = 160  # 10 ms
_PIECE = 800  # 50 ms
_BEST = 5  # phrases that may have been said
_LOOKED_AT = 40  # paths through the lattice: most of them say the same words with other pauses
_SHARPNESS = 60.0  # of the decoder's scores, which are the exponential of scaled log-likelihoods
_SURE = 0.5  # pocketsphinx's posterior of a phrase without a rival
_BEAM, _WORD_BEAM = 1e-40, 1e-16
"""Narrower than pocketsphinx's own (1e-48, 7e-29): of single words it then hears as many (decision 0010), and
its lattices, during whose search it holds Python's global lock, stay small where there is none."""
_NOTHING = "silence"  # what a grammar without a phrase listens for
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


class Transcript(NamedTuple):
    """What was heard.

    Attributes:
        texts: phrases of the lexicon, the likeliest first. shares: of the probability, in all 1.
        confidence: how sure the recogniser is that a phrase was said, 0 to 1.
    """

    texts: tuple[str, ...]
    shares: tuple[float, ...]
    confidence: float


@dataclass(frozen=True, kw_only=True)
class RecogniserConfig:
    """Bounds of the recogniser.

    Attributes:
        max_words: longer phrases stay out of the grammar (they cost time and win by accident).
        max_seconds: what is listened to, from the first sound on. min_seconds: shorter sounds are no words.
        quiet: root mean square, of full scale 1, under which a hundredth of a second is silence.
    """

    max_words: int = 1
    max_seconds: float = 6.0
    min_seconds: float = 0.12
    quiet: float = 0.003


class LexiconRecogniser:
    """A ``preprocess.Recogniser`` constrained to phrases. Starts at the first use; thread-safe.

    Args:
        phrases: English phrases; those that are no plain words of the CMU dictionary are left out.
        config: bounds.
    """

    def __init__(self, phrases: Iterable[str], config: RecogniserConfig | None = None) -> None:
        self.config = config or RecogniserConfig()
        self._phrases = grammar_phrases(phrases, self.config.max_words)
        self._decoder: Any = None
        # One for all threads: it holds some 50 MB, and Python's global lock while it works.
        self._lock = threading.Lock()

    def hear(self, samples: NDArray[np.float32]) -> Transcript | None:
        """The likeliest phrase in mono float32 samples at 16 kHz.

        Returns:
            None for silence, for noise in which no phrase was found, or when there is no phrase to listen
            for.
        """
        voiced = sounding(samples, self.config)
        if voiced is None or not self._phrases:
            return None
        with self._lock:
            if self._decoder is None:
                self._decoder = _decoder(self._phrases)
            return _decode(self._decoder, voiced)


def sounding(samples: NDArray[np.float32], config: RecogniserConfig) -> NDArray[np.int16] | None:
    """The sounding part with a tenth of a second around it, levelled; None when too little sounds."""
    samples = samples[: round(3 * config.max_seconds * _RATE)]
    frames = len(samples) // _FRAME
    if frames == 0:
        return None
    level = np.sqrt((samples[: frames * _FRAME].reshape(frames, _FRAME) ** 2).mean(1))
    loud = np.flatnonzero(level > max(config.quiet, float(level.max()) * 0.04))
    if loud.size * _FRAME < config.min_seconds * _RATE:
        return None
    start = max(0, (int(loud[0]) - 10) * _FRAME)
    stop = min(len(samples), (int(loud[-1]) + 11) * _FRAME, start + round(config.max_seconds * _RATE))
    piece = samples[start:stop]
    piece = piece / max(float(np.abs(piece).max()), 1e-6) * 0.6
    pad = np.zeros(_RATE // 10, np.float32)
    return (np.concatenate([pad, piece, pad]) * 32767).astype(np.int16)


def grammar_phrases(phrases: Iterable[str], max_words: int) -> tuple[str, ...]:
    """Those phrases that are plain words, lower case, hyphens as blanks, without repeats and in their
    order."""
    found: dict[str, None] = {}
    for phrase in phrases:
        flat = phrase.lower().replace("’", "'").replace("-", " ").strip()
        if flat and len(flat.split()) <= max_words and all(_WORD.fullmatch(word) for word in flat.split()):
            found[" ".join(flat.split())] = None
    return tuple(found)


def _decoder(phrases: Sequence[str]) -> Any:
    """A decoder whose grammar is one of the phrases."""
    from pocketsphinx import Decoder, get_model_path  # noqa: PLC0415  (50 MB, only where sound comes in)

    model = Path(get_model_path()) / "en-us"
    words = {_NOTHING, *(word for phrase in phrases for word in phrase.split())}
    with tempfile.NamedTemporaryFile("w", suffix=".dict") as dictionary:
        known = _pronunciations(model / "cmudict-en-us.dict", words, dictionary)
        decoder = Decoder(
            hmm=str(model / "en-us"),
            dict=dictionary.name,
            lm=None,
            beam=_BEAM,
            wbeam=_WORD_BEAM,
            loglevel="FATAL",
        )
    spoken = [phrase for phrase in phrases if known.issuperset(phrase.split())]
    rules = " | ".join(spoken) or _NOTHING
    for name, phrase in (("lexicon", rules), ("nothing", _NOTHING)):
        decoder.add_jsgf_string(name, f"#JSGF V1.0;\ngrammar {name};\npublic <phrase> = {phrase};")
    return decoder


def _pronunciations(path: Path, words: set[str], out: IO[str]) -> set[str]:
    """Copy the lines of a dictionary that pronounce ``words``; returns those that it knows. The whole of it
    would stay in memory with every decoder."""
    known = set()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            word = line.partition(" ")[0].partition("(")[0]
            if word in words:
                known.add(word)
                out.write(line)
    out.flush()
    return known


def _decode(decoder: Any, samples: NDArray[np.int16]) -> Transcript | None:
    # The decoder holds Python's global lock while it works. Piece by piece, other threads come in between; so
    # that this changes nothing, the cepstral mean of the whole is taken first, with nothing to search for.
    _start(decoder, "nothing")
    decoder.process_raw(samples.tobytes(), full_utt=True)
    mean = decoder.get_cmn(True)
    decoder.end_utt()
    _start(decoder, "lexicon", mean)
    for start in range(0, len(samples), _PIECE):
        decoder.process_raw(samples[start : start + _PIECE].tobytes())
    decoder.end_utt()
    best = decoder.hyp()
    if best is None or not best.hypstr:
        return None
    scores: dict[str, float] = {}
    for path in islice(decoder.nbest(), _LOOKED_AT):
        if path is not None and path.hypstr:
            scores.setdefault(path.hypstr, path.score)
    texts = list(dict.fromkeys([best.hypstr, *scores]))[:_BEST]
    highest = max(scores.values(), default=1.0)
    weights = [(scores.get(text, highest) / highest) ** _SHARPNESS for text in texts]
    shares = tuple(weight / sum(weights) for weight in weights)
    return Transcript(tuple(texts), shares, float(min(1.0, best.prob / _SURE)))


def _start(decoder: Any, search: str, mean: str | None = None) -> None:
    decoder.activate_search(search)
    decoder.reinit_feat()  # forget the means and the noise of the sound before
    if mean is not None:
        decoder.set_cmn(mean)
    decoder.start_utt()
