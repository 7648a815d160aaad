"""Instruments, effects and noises, zero-shot: pitches, drum kits and seeds that were never trained on."""

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.sounds import CLASSES, RATE, SoundFont, play
from chiasm.evaluation.material import Material
from chiasm.evaluation.metrics import chance_at, one_hot, ranks, recall_at
from chiasm.evaluation.report import Row, Target, measured
from chiasm.modality import Audio
from chiasm.preprocess.audio import AudioPreprocessor
from chiasm.preprocess.config import AudioPreprocess

GROUP = "sounds"
TAKES = 2
BASELINE_TAKES = 2
TEMPLATES = {"en": ("{}", "sound of {}"), "zh": ("{}", "{}的声音")}

Clip = NDArray[np.float32]


def sounds(material: Material) -> list[Row]:
    """Zero-shot top-1 and top-5 among all classes in both languages."""
    font = SoundFont(material.sources.soundfont)
    kinds = material.sample(len(CLASSES), len(CLASSES), "sound classes")
    clips, label = takes(font, material.split, kinds, TAKES, material.seed)
    vectors = material.model.embed([Audio(clip, RATE) for clip in clips])
    right = one_hot(kinds[label], len(CLASSES))
    trained, trained_label = takes(font, "train", np.arange(len(CLASSES)), BASELINE_TAKES, material.seed)
    nearest = _nearest_spectrum(clips, trained, trained_label)
    rows = []
    for language, templates in TEMPLATES.items():
        names = [kind.en if language == "en" else kind.zh for kind in CLASSES]
        place = ranks(vectors @ material.labels(names, templates).T, right)
        for k in (1, 5):
            baselines = {"nearest training clip by mean spectrum": float((nearest == kinds[label]).mean())}
            rows.append(
                measured(
                    GROUP,
                    f"zero-shot top-{k}, held-out pitches and kits, {language}",
                    recall_at(place, k),
                    gallery=len(CLASSES),
                    chance=chance_at(right, k),
                    baselines=baselines if k == 1 else {},
                    target=Target(least=0.60) if k == 1 else None,
                )
            )
    return rows


def takes(
    font: SoundFont, split: str, kinds: NDArray[np.int64], count: int, seed: int
) -> tuple[list[Clip], NDArray[np.int64]]:
    """``count`` clips of each class as a split may hear it, and their places in ``kinds``."""
    clips: list[Clip] = []
    label: list[int] = []
    for place, row in enumerate(kinds):
        rng = np.random.default_rng([seed, *split.encode(), int(row)])
        for _ in range(count):
            clip = play(font, CLASSES[row], split, rng)
            if len(clip):
                clips.append(clip)
                label.append(place)
    return clips, np.array(label, dtype=np.int64)


def _nearest_spectrum(clips: list[Clip], bank: list[Clip], label: NDArray[np.int64]) -> NDArray[np.int64]:
    """The trivial baseline: the class of the training clip whose mean log-mel spectrum is nearest."""
    queries, known = _spectra(clips), _spectra(bank)
    distance = (known**2).sum(axis=1) - 2 * queries @ known.T
    return np.asarray(label[distance.argmin(axis=1)])


def _spectra(clips: list[Clip]) -> NDArray[np.float32]:
    mel = AudioPreprocessor(AudioPreprocess())
    means = [mel.log_mel(mel.samples(Audio(clip, RATE))[0]).mean(axis=0) for clip in clips]
    rows = np.stack(means)
    return np.asarray(rows - rows.mean(axis=1, keepdims=True), dtype=np.float32)  # loudness does not count
