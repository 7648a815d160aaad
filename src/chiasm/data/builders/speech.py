"""Spoken names: espeak-ng voices (and flite's, for tests) by way of their shared libraries, in 16 kHz mono.

Whole voices are held out: no clip of a validation or test voice is ever trained on.
"""

import ctypes
import ctypes.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from chiasm.errors import DataError

RATE = 16_000
"""Samples per second of every clip made here."""

_SYNCHRONOUS = 2
_NO_EXIT = 0x8000
_UTF8 = 1
_PARAMETER_RATE, _PARAMETER_VOLUME, _PARAMETER_PITCH, _PARAMETER_RANGE = 1, 2, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One way to speak: an espeak voice file, words per minute, pitch and pitch range (both 0 to 100)."""

    name: str
    language: str
    rate: int = 175
    pitch: int = 50
    span: int = 50


VALIDATION_VARIANTS = ("f4", "m6", "Andrea", "Mike", "klatt3", "steph")
"""espeak variants heard in validation only."""
TEST_VARIANTS = ("f5", "m8", "Gene", "belinda", "klatt6", "norbert")
"""espeak variants heard in the test only."""
TRAIN_VARIANTS = (
    "", "f1", "f2", "f3", "m1", "m2", "m3", "m4", "m5", "m7", "Alex", "Alicia", "Andy", "Annie",
    "AnxiousAndy",
    "Denis", "Diogo", "Gene2", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael",
    "Mr serious", "Nguyen",
    "RicishayMax", "RicishayMax2", "RicishayMax3", "Storm", "Tweaky", "adam", "anika", "announcer",
    "antonio", "aunty",
    "benjamin", "boris", "caleb", "david", "ed", "edward", "edward2", "grandma", "grandpa", "gustave",
    "iven", "iven2",
    "iven3", "iven4", "john", "kaukovalta", "klatt", "klatt2", "klatt4", "klatt5", "linda", "marcelo",
    "max", "michel",
    "miguel", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph2", "steph3",
    "travis",
    "victor", "zac", "whisper", "whisperf",
)  # fmt: skip
"""espeak variants for training; musical robots and demons are left out."""
_ENGLISH = (
    "gmw/en-US", "gmw/en", "gmw/en-US", "gmw/en-GB-x-rp", "gmw/en-US", "gmw/en-GB-scotland", "gmw/en-US",
    "gmw/en-US-nyc", "gmw/en-029", "gmw/en-GB-x-gbcwmd",
)  # fmt: skip


def voices(split: str, language: str) -> tuple[Voice, ...]:
    """List the voices of a split.

    Args:
        split: ``train``, ``validation`` or ``test``; no variant is in two of them.
        language: ``en`` or ``zh``.

    Returns:
        The voices in a fixed order, with rates and pitches spread over a human range.
    """
    variants = {"train": TRAIN_VARIANTS, "validation": VALIDATION_VARIANTS, "test": TEST_VARIANTS}[split]
    made = []
    for index, variant in enumerate(variants):
        base = _ENGLISH[index % len(_ENGLISH)] if language == "en" else "sit/cmn"
        if split != "train" and language == "en":
            base = "gmw/en-US" if index % 2 else "gmw/en"
        spread = index * 0.618_034 % 1.0
        made.append(
            Voice(
                name=f"{base}+{variant}" if variant else base,
                language=language,
                rate=int(135 + 85 * spread),
                pitch=int(30 + 45 * (index * 0.414_214 % 1.0)),
                span=int(35 + 40 * (index * 0.732_051 % 1.0)),
            )
        )
    return tuple(made)


class Espeak:
    """The one espeak-ng engine of this process (the library keeps global state: one thread only)."""

    def __init__(self) -> None:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise DataError(
                "espeak-ng is not installed (Debian: apt install espeak-ng)",
                "未安装 espeak-ng（Debian：apt install espeak-ng）",
            )
        self._library = ctypes.CDLL(path)
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 500, None, _NO_EXIT)
        if self.rate <= 0:
            raise DataError(
                "espeak-ng could not start: its data files are missing", "espeak-ng 无法启动：缺少数据文件"
            )
        self._pieces: list[NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)
        self._voice: Voice | None = None

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if count > 0 and samples:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, text: str, voice: Voice) -> NDArray[np.float32]:
        """Speak a text: float32 ``[n]`` in [-1, 1] at :data:`RATE`, silence at both ends trimmed; ``n`` may
        be 0."""
        self._use(voice)
        self._pieces.clear()
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        if not self._pieces:
            return np.zeros(0, np.float32)
        samples = trim(np.concatenate(self._pieces).astype(np.float32) / 32768.0)
        return resample(samples, self.rate)

    def _use(self, voice: Voice) -> None:
        if voice == self._voice:
            return
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise DataError(
                f"espeak-ng has no voice named {voice.name!r}", f"espeak-ng 没有名为 {voice.name!r} 的语音"
            )
        for parameter, value in (
            (_PARAMETER_RATE, voice.rate),
            (_PARAMETER_PITCH, voice.pitch),
            (_PARAMETER_RANGE, voice.span),
            (_PARAMETER_VOLUME, 90),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._voice = voice


@cache
def espeak() -> Espeak:
    """The process's espeak-ng, started at the first use."""
    return Espeak()


def trim(samples: NDArray[np.float32], floor: float = 0.004) -> NDArray[np.float32]:
    """Cut what is quieter than ``floor`` of full scale from both ends of float32 ``[n]``."""
    loud = np.flatnonzero(np.abs(samples) > floor)
    return samples[loud[0] : loud[-1] + 1] if loud.size else samples[:0]


def resample(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Bring float32 ``[n]`` from ``rate`` to :data:`RATE`."""
    if rate == RATE or not samples.size:
        return samples
    return np.asarray(soxr.resample(samples, rate, RATE, quality="MQ"), dtype=np.float32)


def clips(phrases: Sequence[str], spoken_by: Voice) -> Iterator[NDArray[np.float32]]:
    """Speak each phrase in one voice, in order."""
    engine = espeak()
    for phrase in phrases:
        yield engine.speak(phrase, spoken_by)


class _FliteWave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


FLITE_VALIDATION = ("slt", "awb")
"""Flite voices (made from recordings of people) on which weights may be chosen."""
FLITE_TEST = ("rms", "kal16")
"""Flite voices read once, for the test."""


@cache
def _flite(name: str) -> tuple[ctypes.CDLL, int]:
    path, voice_path = ctypes.util.find_library("flite"), ctypes.util.find_library(f"flite_cmu_us_{name}")
    if path is None or voice_path is None:
        raise DataError(f"flite's voice {name} is not installed", f"未安装 flite 的语音 {name}")
    library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    library.flite_init()
    register = getattr(ctypes.CDLL(voice_path), f"register_cmu_us_{name}")
    register.restype, register.argtypes = ctypes.c_void_p, (ctypes.c_char_p,)
    voice = register(None)
    library.flite_text_to_wave.restype = ctypes.POINTER(_FliteWave)
    library.flite_text_to_wave.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    library.delete_wave.argtypes = (ctypes.POINTER(_FliteWave),)
    return library, int(voice)


def speak_flite(text: str, name: str) -> NDArray[np.float32]:
    """Speak English in one of flite's voices: float32 ``[n]`` at :data:`RATE`, trimmed."""
    library, voice = _flite(name)
    wave = library.flite_text_to_wave(text.encode(), voice)
    samples = (
        np.ctypeslib.as_array(wave.contents.samples, (wave.contents.num_samples,)).astype(np.float32)
        / 32768.0
    )
    rate = wave.contents.sample_rate
    library.delete_wave(wave)
    return resample(trim(samples), rate)
