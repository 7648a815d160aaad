"""Sounds and spoken notes of the sample library."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from chiasm.data.builders.sample_list import Tune, Words
from chiasm.data.builders.speech import RATE as SPEECH_RATE
from chiasm.data.builders.speech import Voice, espeak
from chiasm.errors import DataError

RATE = 48_000
"""Samples per second of every file: what Opus wants."""
_OPUS_BITS = 40_000
_TAIL = 0.6


def play(tune: Tune, soundfont: Path) -> NDArray[np.float32]:
    """Render a tune: mono float32 ``[n]`` at :data:`RATE`, peak 0.8.

    Raises:
        DataError: tinysoundfont is not installed.
    """
    try:
        import tinysoundfont  # noqa: PLC0415  (needed only where the corpus is built)
    except ImportError as error:
        raise DataError(
            "tinysoundfont is missing; try `pip install tinysoundfont` (it builds PyAudio: portaudio19-dev)",
            "缺少 tinysoundfont；请 `pip install tinysoundfont`（需编译 PyAudio：portaudio19-dev）",
            param="tinysoundfont",
        ) from error
    synth = tinysoundfont.Synth(gain=-6, samplerate=RATE)
    synth.program_select(0, synth.sfload(str(soundfont)), 128 if tune.drums else 0, tune.program, tune.drums)
    events = sorted(
        event
        for key, start, length in tune.notes
        for event in ((start * tune.beat, 1, key), ((start + length) * tune.beat, 0, key))
    )
    pieces: list[NDArray[np.float32]] = []
    clock = 0.0
    for moment, on, key in [*events, (events[-1][0] + _TAIL, 0, 0)]:
        count = round((moment - clock) * RATE)
        if count:
            pieces.append(np.frombuffer(synth.generate(count), np.float32).reshape(-1, 2).mean(axis=1))
            clock = moment
        if on:
            synth.noteon(0, key, 100)
        else:
            synth.noteoff(0, key)
    return _finish(np.concatenate(pieces))


def say(words: Words) -> NDArray[np.float32]:
    """Speak: mono float32 ``[n]`` at :data:`RATE`, peak 0.8, a fifth of a second of silence on both sides."""
    spoken = espeak().speak(words.text, Voice(name=words.voice, language=words.language, rate=150))
    samples = soxr.resample(spoken, SPEECH_RATE, RATE)
    silence = np.zeros(RATE // 5, np.float32)
    return _finish(np.concatenate([silence, samples.astype(np.float32), silence]))


def write_sound(path: Path, samples: NDArray[np.float32]) -> None:
    """Write Opus in Ogg (``.ogg``) or 16-bit FLAC (``.flac``)."""
    lossless = path.suffix == ".flac"
    with av.open(
        str(path), "w", format="flac" if lossless else "ogg", options={"fflags": "+bitexact"}
    ) as out:
        stream = out.add_stream(
            "flac" if lossless else "libopus", rate=24_000 if lossless else RATE, layout="mono"
        )
        stream.time_base = Fraction(1, stream.rate)
        if lossless:
            samples = samples[::2]
        else:
            stream.bit_rate = _OPUS_BITS
        pcm = (np.clip(samples, -1, 1) * 32767).round().astype(np.int16)[None, :]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = stream.rate
        frame.pts = 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)


def _finish(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    fade = np.minimum(1.0, np.arange(len(samples), 0, -1) / (0.2 * RATE)).astype(np.float32)
    peak = max(float(np.abs(samples).max()), 1e-6)
    return (samples * fade * (0.8 / peak)).astype(np.float32)
