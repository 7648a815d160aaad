"""Sounds that are not speech: instruments, drums and effects of a General MIDI sound font, and synthesised
noises.

Splits: pitches of an instrument (by their place in the octave), whole drum kits, seeds of the noises.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.mels import write_shard
from chiasm.data.builders.noises import NOISES
from chiasm.errors import DataError
from chiasm.modality import Audio
from chiasm.preprocess.audio import AudioPreprocessor
from chiasm.preprocess.config import AudioPreprocess

RATE = 16_000
SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
"""Fluid R3 (MIT), Debian's fluid-soundfont-gm."""
SPLITS = ("train", "validation", "test")
_PITCHES = {"train": (0, 2, 4, 5, 7, 8, 9, 11), "validation": (1, 6), "test": (3, 10)}
_KITS = {"train": (0, 1, 2, 3, 8, 9, 16, 17, 24, 32), "validation": (4, 10, 18, 33), "test": (25, 40)}


@dataclass(frozen=True, kw_only=True)
class SoundClass:
    """A kind of sound: names, a family, and where it comes from (GM programs with a range of keys, or drum
    keys)."""

    en: str
    zh: str
    family: str
    programs: tuple[int, ...] = ()
    keys: tuple[int, int] = (48, 84)
    drums: tuple[int, ...] = ()


def _gm(
    family: str, rows: Mapping[str, tuple[str, tuple[int, ...], tuple[int, int]]]
) -> tuple[SoundClass, ...]:
    return tuple(
        SoundClass(en=en, zh=zh, family=family, programs=programs, keys=keys)
        for en, (zh, programs, keys) in rows.items()
    )


def _drum(rows: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[SoundClass, ...]:
    return tuple(SoundClass(en=en, zh=zh, family="percussion", drums=keys) for en, (zh, keys) in rows.items())


CLASSES: tuple[SoundClass, ...] = (
    *_gm("keyboard", {
        "piano": ("钢琴", (0, 1, 3), (30, 96)), "electric piano": ("电钢琴", (4, 5), (36, 90)),
        "harpsichord": ("大键琴", (6,), (36, 84)), "accordion": ("手风琴", (21, 23), (48, 88)),
        "organ": ("管风琴", (16, 17, 18, 19, 20), (36, 90)), "harmonica": ("口琴", (22,), (60, 88)),
    }),
    *_gm("mallet", {
        "celesta": ("钢片琴", (8,), (60, 96)), "glockenspiel": ("钟琴", (9,), (72, 100)),
        "music box": ("八音盒", (10,), (60, 96)), "vibraphone": ("颤音琴", (11,), (52, 88)),
        "marimba": ("马林巴琴", (12,), (45, 88)), "xylophone": ("木琴", (13,), (60, 96)),
        "tubular bells": ("管钟", (14,), (60, 80)), "dulcimer": ("扬琴", (15,), (50, 84)),
        "steel drum": ("钢鼓", (114,), (52, 84)), "kalimba": ("拇指琴", (108,), (55, 84)),
    }),
    *_gm("plucked string", {
        "acoustic guitar": ("木吉他", (24, 25), (40, 80)),
        "electric guitar": ("电吉他", (26, 27, 28), (40, 82)),
        "distorted electric guitar": ("失真电吉他", (29, 30), (40, 80)),
        "bass guitar": ("贝斯", (33, 34, 35, 36, 37), (28, 55)),
        "double bass": ("低音提琴", (32, 43), (28, 55)),
        "harp": ("竖琴", (46,), (40, 92)), "sitar": ("西塔尔琴", (104,), (48, 78)),
        "banjo": ("班卓琴", (105,), (48,
        82)),
        "shamisen": ("三味线", (106,), (50, 80)), "koto": ("日本筝", (107,), (48, 82)),
    }),
    *_gm("bowed string", {
        "violin": ("小提琴", (40, 110), (55, 94)), "viola": ("中提琴", (41,), (48, 82)),
        "cello": ("大提琴", (42,),
        (36, 70)),
        "string orchestra": ("弦乐合奏", (44, 48, 49), (40, 88)), "pizzicato": ("拨奏弦乐", (45,), (43, 84)),
    }),
    *_gm("voice", {"choir singing": ("合唱", (52, 53, 54), (48, 80))}),
    *_gm("brass", {
        "trumpet": ("小号", (56, 59), (55, 86)), "trombone": ("长号", (57,), (40, 72)),
        "tuba": ("大号", (58,),
        (28, 58)),
        "French horn": ("圆号", (60,), (41, 77)), "brass band": ("铜管乐队", (61, 62, 63), (43, 80)),
        "saxophone": ("萨克斯", (64, 65, 66, 67), (42, 84)),
    }),
    *_gm("woodwind", {
        "oboe": ("双簧管", (68, 69, 111), (55, 88)), "bassoon": ("巴松管", (70,), (34, 68)),
        "clarinet": ("单簧管", (71,), (50, 88)), "flute": ("长笛", (72, 73), (60, 96)),
        "recorder": ("竖笛", (74,),
        (60, 92)),
        "pan flute": ("排箫", (75,), (55, 88)), "bamboo flute": ("竹笛", (77,), (55, 86)),
        "ocarina": ("陶笛", (79,), (60, 90)), "bagpipes": ("风笛", (109,), (50, 80)),
    }),
    *_gm("electronic", {"synthesizer": ("合成器", (38, 39, 50, 51, 80, 81, 87, 90), (36, 84))}),
    *_gm("effect", {
        "waves crashing": ("海浪声", (122,), (48, 76)), "bird singing": ("鸟叫声", (123,), (55, 84)),
        "telephone ringing": ("电话铃声", (124,), (55, 80)), "helicopter": ("直升机", (125,), (48, 72)),
        "applause": ("掌声", (126,), (50, 76)), "gunshot": ("枪声", (127,), (45, 76)),
    }),
    *_gm("percussion", {"timpani": ("定音鼓", (47,), (36, 60)), "taiko drum": ("太鼓", (116,), (40, 72))}),
    *_drum({
        "bass drum": ("大鼓", (35, 36)), "snare drum": ("小军鼓", (38, 40)), "hand clap": ("拍手声", (39,)),
        "hi-hat": ("踩镲", (42, 44, 46)), "tom-tom drum": ("嗵鼓", (41, 43, 45, 47, 48, 50)),
        "cymbal": ("镲", (49, 51, 52, 55, 57, 59)), "tambourine": ("铃鼓", (54,)), "cowbell": ("牛铃", (56,)),
        "bongo drum": ("邦戈鼓", (60, 61)), "conga drum": ("康加鼓", (62, 63, 64)),
        "maracas": ("沙槌", (70, 69)),
        "whistle": ("哨子", (71, 72)), "guiro": ("刮瓜", (73, 74)), "wood block": ("木鱼", (76, 77)),
        "triangle instrument": ("三角铁", (80, 81)),
    }),
    *(SoundClass(en=en, zh=zh, family="noise") for en, zh in NOISES),
)  # fmt: skip
"""All classes of sounds; a corpus's labels are ``2 * row`` (the name) and ``2 * row + 1`` ("sound of …")."""


def captions() -> list[str]:
    """The English text of every label."""
    return [text for kind in CLASSES for text in (kind.en, f"sound of {kind.en}")]


def build_sounds(folder: Path, *, takes: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, int]:
    """Write ``sounds-train``, ``sounds-validation``, ``sounds-test`` and ``sounds.json`` (the labels' names).

    Args:
        folder: where to. takes: clips of each class by split (default 110, 6 and 6).

    Returns:
        Clips by split.
    """
    takes = takes or {"train": 110, "validation": 6, "test": 6}
    mel, font = AudioPreprocessor(AudioPreprocess()), SoundFont()

    def spectra(split: str) -> Iterator[tuple[NDArray[np.float32], int, int]]:
        for row, kind in enumerate(CLASSES):
            random = np.random.default_rng((seed, SPLITS.index(split), row))
            for take in range(takes[split]):
                samples = play(font, kind, split, random)
                log_mel = mel.log_mel(mel.samples(Audio(samples, RATE))[0])
                yield log_mel, 2 * row + (take % 3 == 2 if split == "train" else 0), take

    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"en": kind.en, "zh": kind.zh, "family": kind.family} for kind in CLASSES]
    (folder / "sounds.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return {split: write_shard(folder / f"sounds-{split}", spectra(split)) for split in SPLITS}


class SoundFont:
    """A General MIDI player."""

    def __init__(self, path: Path = SOUND_FONT) -> None:
        import tinysoundfont  # noqa: PLC0415  (only the builder of the corpus has it)

        if not path.exists():
            raise DataError(
                f"the sound font {path.name} is missing (Debian: fluid-soundfont-gm)",
                f"缺少音色库 {path.name}（Debian：fluid-soundfont-gm）",
            )
        self._synth: Any = tinysoundfont.Synth(gain=-4, samplerate=RATE)
        self._font = self._synth.sfload(str(path))

    def notes(
        self, program: int, score: list[tuple[int, float, float]], velocity: int, *, drums: bool = False
    ) -> NDArray[np.float32]:
        """Play ``(key, seconds held, seconds until the next)`` one after another: float32 [n] at 16 kHz."""
        synth = self._synth
        synth.program_select(0, self._font, 128 if drums else 0, program, drums)
        pieces = []
        for key, held, gap in score:
            synth.noteon(0, key, velocity)
            pieces.append(self._generate(min(held, gap)))
            if held <= gap:
                synth.noteoff(0, key)
                pieces.append(self._generate(gap - held))
        synth.notes_off(0)
        pieces.append(self._generate(0.35))
        synth.sounds_off(0)
        return np.concatenate(pieces)

    def _generate(self, seconds: float) -> NDArray[np.float32]:
        count = int(seconds * RATE)
        if count <= 0:
            return np.zeros(0, np.float32)
        stereo = np.frombuffer(self._synth.generate_simple(count), np.float32).reshape(-1, 2)
        return np.asarray(stereo.mean(1), np.float32)


def play(font: SoundFont, kind: SoundClass, split: str, random: np.random.Generator) -> NDArray[np.float32]:
    """One clip of a class, as a split may hear it: float32 [n] at 16 kHz, 0.6 to 4 s."""
    if kind.family == "noise":
        return NOISES[kind.en, kind.zh](random)
    velocity = int(random.integers(60, 127))
    if kind.drums:
        kits = _KITS[split]
        score = [
            (int(random.choice(kind.drums)), 0.3, gap)
            for gap in random.uniform(0.15, 0.6, random.integers(1, 5))
        ]
        samples = font.notes(int(random.choice(kits)), score, velocity, drums=True)
    else:
        keys = [key for key in range(*kind.keys) if key % 12 in _PITCHES[split]]
        score = _motif(keys, random)
        samples = font.notes(int(random.choice(kind.programs)), score, velocity)
    peak = float(np.abs(samples).max())
    return samples / np.float32(peak / 0.8) if peak > 1e-4 else samples


def _motif(keys: list[int], random: np.random.Generator) -> list[tuple[int, float, float]]:
    """One long note, or two to six near each other."""
    count = int(random.choice([1, 1, 2, 3, 4, 6]))
    at = int(random.integers(len(keys)))
    score = []
    for _ in range(count):
        gap = float(random.uniform(0.15, 0.6)) if count > 1 else float(random.uniform(0.6, 2.2))
        score.append((keys[at], gap * float(random.uniform(0.5, 1.0)), gap))
        at = int(np.clip(at + random.integers(-4, 5), 0, len(keys) - 1))
    return score
