"""The corpus of spoken names: which phrase is said by which voice, written as log-mel shards."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.lexicon import Concept
from chiasm.data.builders.mels import write_shard
from chiasm.data.builders.speech import FLITE_TEST, FLITE_VALIDATION, Voice, espeak, speak_flite, voices
from chiasm.modality import Audio
from chiasm.models.mini.phonemes import chinese, english
from chiasm.preprocess.audio import AudioPreprocessor
from chiasm.preprocess.config import AudioPreprocess

_MAX_UNITS = 48


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """One thing to say.

    Attributes:
        text: as written. target: the English name whose text vector it should land on.
        language: ``en`` or ``zh``. units: its phonemes (see ``models.mini.phonemes``).
        held_out: never in training. category: the concept's.
    """

    text: str
    target: str
    language: str
    units: tuple[int, ...]
    held_out: bool
    category: str


def phrases_of(concepts: Sequence[Concept]) -> list[Phrase]:
    """All names of all concepts: an English synonym stands for itself, a Chinese name for the first English
    one."""
    rows = [(name, name, "en", concept) for concept in concepts for name in concept.en]
    rows += [(name, concept.en[0], "zh", concept) for concept in concepts for name in concept.zh]
    spelt = [
        *english([row[0] for row in rows if row[2] == "en"]),
        *(chinese(row[0]) for row in rows if row[2] == "zh"),
    ]
    made = [
        Phrase(
            text=text,
            target=target,
            language=language,
            units=units,
            held_out=concept.held_out,
            category=concept.category,
        )
        for (text, target, language, concept), units in zip(rows, spelt, strict=True)
        if 0 < len(units) <= _MAX_UNITS
    ]
    kept_out = {(phrase.text.lower(), phrase.language) for phrase in made if phrase.held_out}
    return [  # a held-out name that is also a synonym of something else stays out altogether
        phrase
        if phrase.held_out or (phrase.text.lower(), phrase.language) not in kept_out
        else Phrase(**{**asdict(phrase), "held_out": True})
        for phrase in made
    ]


def write_phrases(path: Path, phrases: Sequence[Phrase]) -> None:
    """Keep the table that the shards' labels point into."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(phrase) for phrase in phrases], ensure_ascii=False), encoding="utf-8")


def read_phrases(path: Path) -> list[Phrase]:
    """Read what :func:`write_phrases` wrote."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Phrase(**{**row, "units": tuple(row["units"])}) for row in rows]


def build_round(folder: Path, phrases: Sequence[Phrase], number: int, seed: int = 0) -> int:
    """Say every trainable phrase once, each by one training voice; another round picks other voices.

    Returns:
        How many clips ``folder/train-NN`` holds.
    """
    random = np.random.default_rng((seed, number))
    said: list[tuple[int, Voice, int]] = []
    for language in ("en", "zh"):
        wanted = [
            i for i, phrase in enumerate(phrases) if phrase.language == language and not phrase.held_out
        ]
        cast = voices("train", language)
        order = random.permutation(len(wanted))
        shift = int(random.integers(len(cast)))
        for rank, part in enumerate(np.array_split(order, len(cast))):
            index = (rank + shift) % len(cast)
            voice = _vary(cast[index], random)
            said += [(wanted[int(at)], voice, index) for at in part]
    return write_shard(folder / f"train-{number:02d}", _spectra(said, phrases))


def build_checks(folder: Path, phrases: Sequence[Phrase], count: int = 600, seed: int = 1) -> None:
    """Write the validation and test shards: ``{split}-{en,zh}`` (trained names, ``count`` of them),
    ``{split}-{en,zh}-new`` (names never trained on) and, by flite, ``{split}-flite`` and
    ``{split}-flite-new``.
    """
    random = np.random.default_rng(seed)
    for split, flite in (("validation", FLITE_VALIDATION), ("test", FLITE_TEST)):
        for language in ("en", "zh"):
            cast = voices(split, language)
            for held_out in (False, True):
                rows = [
                    i
                    for i, phrase in enumerate(phrases)
                    if phrase.language == language
                    and phrase.held_out == held_out
                    and phrase.category != "sentence"
                ]
                chosen = random.permutation(rows)[:count]
                said = sorted((n % len(cast), int(label)) for n, label in enumerate(chosen))
                name = f"{split}-{language}" + "-new" * held_out
                write_shard(folder / name, _spectra([(label, cast[v], v) for v, label in said], phrases))
                if language == "en":
                    write_shard(
                        folder / (f"{split}-flite" + "-new" * held_out), _flite(chosen[:300], phrases, flite)
                    )


def _vary(voice: Voice, random: np.random.Generator) -> Voice:
    return Voice(
        name=voice.name,
        language=voice.language,
        rate=int(np.clip(voice.rate + random.integers(-20, 21), 110, 260)),
        pitch=int(np.clip(voice.pitch + random.integers(-15, 16), 10, 90)),
        span=int(np.clip(voice.span + random.integers(-15, 16), 15, 90)),
    )


def _spectra(
    said: Sequence[tuple[int, Voice, int]], phrases: Sequence[Phrase]
) -> Iterator[tuple[NDArray[np.float32], int, int]]:
    engine, mel = espeak(), AudioPreprocessor(AudioPreprocess())
    for label, voice, index in said:
        samples = engine.speak(phrases[label].text, voice)
        if samples.size:
            yield mel.log_mel(mel.samples(Audio(samples, 16_000))[0]), label, index


def _flite(
    labels: NDArray[np.int64], phrases: Sequence[Phrase], names: Sequence[str]
) -> Iterator[tuple[NDArray[np.float32], int, int]]:
    mel = AudioPreprocessor(AudioPreprocess())
    for n, label in enumerate(labels):
        samples = speak_flite(phrases[int(label)].text, names[n % len(names)])
        if samples.size:
            yield mel.log_mel(mel.samples(Audio(samples, 16_000))[0]), int(label), n % len(names)
