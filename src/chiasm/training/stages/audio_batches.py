"""Batches of the audio stage: clips drawn from the shards, changed in the log-mel domain, all from (seed,
step).

Augmenting spectrograms instead of waveforms costs under a millisecond a clip, so that one core can train.
What is
varied is what a voice from a synthesiser lacks: tempo, length of the vocal tract, room, microphone, noise,
other people.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.mels import LOWEST, MELS, STEPS, MelShard

Array = NDArray[np.float32]
_POOL = 8  # batches drawn together and sorted by length, so that little of a batch is padding


@dataclass(frozen=True, kw_only=True)
class AudioBatch:
    """``b`` clips.

    Attributes:
        log_mel: float32 [b, f, 64]. lengths: int64 [b]. labels: int64 [b], the shard's.
        speech: bool [b], speech rather than another sound.
    """

    log_mel: Array
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    speech: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class AudioBatches:
    """``batch(step)`` is a function of the seed and the step alone, so that a resumed run equals an
    unbroken one.

    The curriculum matters: with ten thousand names or with noise from the first step on, CTC stays on its
    plateau of
    blanks and the names at chance for as long as we had patience.

    Attributes:
        speech: clips of speech. easy: those of a few names, or None. sounds: other sounds, or None.
        size: clips a batch. sound_share: of it, sounds. max_frames: longer clips are cut.
        easy_steps: steps with ``easy`` alone; after them every other one.
        clean_steps: steps before anything is spoilt. ramp: steps from there until ``spoilt`` of the batches
        are. hardest: how far changes go at most, of 1; a tower that hears a name a few dozen times has no use
        for more.
    """

    speech: MelShard
    easy: MelShard | None = None
    sounds: MelShard | None = None
    size: int = 48
    sound_share: float = 0.12
    max_frames: int = 400
    easy_steps: int = 600
    clean_steps: int = 1000
    ramp: int = 600
    spoilt: float = 0.25
    hardest: float = 0.7
    seed: int = 0

    def hastened(self, share: float) -> "AudioBatches":
        """The same curriculum in this share of its steps."""
        easy, clean, ramp = (round(steps * share) for steps in (self.easy_steps, self.clean_steps, self.ramp))
        return replace(self, easy_steps=easy, clean_steps=clean, ramp=ramp)

    def batch(self, step: int) -> AudioBatch:
        """The batch of a step (0, 1, …)."""
        pool, rank = divmod(step, _POOL)
        easy = self.easy is not None and (step < self.easy_steps or step % 2 == 1)
        shard = self.easy if easy and self.easy is not None else self.speech
        sounds = round(self.size * self.sound_share) if self.sounds is not None else 0
        picked = _sorted_share(shard, self.size - sounds, (self.seed, 0, pool), rank)
        random = np.random.default_rng((self.seed, 2, step))
        hard = min(self.hardest, 0.15 + 0.85 * step / max(1, self.clean_steps + self.ramp))
        log_mel, lengths = stretch(shard, picked, random, max_frames=self.max_frames, hard=hard)
        labels = shard.labels[picked]
        if self.sounds is not None:
            other = _sorted_share(self.sounds, sounds, (self.seed, 1, pool), rank)
            more, counts = stretch(
                self.sounds, other, random, max_frames=self.max_frames, hard=hard, warp=False
            )
            log_mel, lengths = _stack(log_mel, more), np.concatenate([lengths, counts])
            labels = np.concatenate([labels, self.sounds.labels[other]])
        if random.random() < self.spoilt * np.clip((step - self.clean_steps) / max(1, self.ramp), 0, 1):
            log_mel = spoil(log_mel, lengths, random, hard)
        return AudioBatch(
            log_mel=log_mel, lengths=lengths, labels=labels, speech=np.arange(len(labels)) < len(picked)
        )


def plain(
    shard: MelShard, picked: Sequence[int] | NDArray[np.int64], max_frames: int = 800
) -> tuple[Array, NDArray[np.int64]]:
    """Clips as they are, padded to the longest: float32 [b, f, 64] and their lengths."""
    lengths = np.minimum(shard.lengths[picked], max_frames)
    out = np.full((len(lengths), int(lengths.max()), MELS), LOWEST, np.float32)
    for row, (index, length) in enumerate(zip(picked, lengths, strict=True)):
        out[row, :length] = shard.clip(int(index))[:length]
    return out, lengths


def _sorted_share(shard: MelShard, count: int, key: tuple[int, int, int], rank: int) -> NDArray[np.int64]:
    random = np.random.default_rng(key)
    drawn = random.integers(len(shard.lengths), size=count * _POOL)
    drawn = drawn[np.argsort(shard.lengths[drawn], kind="stable")]
    order = random.permutation(_POOL)
    share: NDArray[np.int64] = drawn.reshape(_POOL, count)[order[rank]]
    return share


def _stack(first: Array, second: Array) -> Array:
    frames = max(first.shape[1], second.shape[1])
    out = np.full((len(first) + len(second), frames, MELS), LOWEST, np.float32)
    out[: len(first), : first.shape[1]] = first
    out[len(first) :, : second.shape[1]] = second
    return out


def stretch(
    shard: MelShard,
    picked: NDArray[np.int64],
    random: np.random.Generator,
    *,
    max_frames: int,
    hard: float = 1.0,
    warp: bool = True,
) -> tuple[Array, NDArray[np.int64]]:
    """Gather clips at another tempo (x 0.75 to 1.35), with silence around them and, with ``warp``, formants
    moved.

    ``hard``, 0 to 1, is how far all this may go.

    Returns:
        log-mel float32 [b, f, 64], lengths int64 [b].
    """
    count = len(picked)
    own = shard.lengths[picked].astype(np.float32)
    tempo = np.exp(hard * random.uniform(-0.3, 0.3, count)).astype(np.float32)
    before = random.integers(0, 24, count) * (random.random(count) < 0.7)
    after = random.integers(0, 24, count) * (random.random(count) < 0.7)
    lengths = np.clip(np.ceil(own * tempo).astype(np.int64) + before + after, 1, max_frames)
    at = (np.arange(int(lengths.max()), dtype=np.float32) - before[:, None]) / tempo[
        :, None
    ]  # [b, f] source frame
    inside = (at >= 0) & (at <= own[:, None] - 1)
    at = np.clip(at, 0, own[:, None] - 1)
    low = at.astype(np.int64)
    high = np.minimum(low + 1, own[:, None].astype(np.int64) - 1)
    part = (at - low)[..., None]
    start = shard.offsets[picked][:, None]
    levels = shard.frames[start + low].astype(np.float32)
    levels += (shard.frames[start + high] - levels) * part
    log_mel = levels * np.float32(1 / STEPS) + np.float32(LOWEST)
    log_mel[~inside] = LOWEST
    return (_warp(log_mel, random, 0.14 * hard) if warp else log_mel), lengths


def _warp(log_mel: Array, random: np.random.Generator, most: float) -> Array:
    """Move formants as a vocal tract up to 14 % longer or shorter would: bands read from elsewhere, [b, f,
    64]."""
    factor = np.exp(random.uniform(-most, most, len(log_mel))).astype(np.float32)
    at = np.clip(np.arange(MELS, dtype=np.float32) * factor[:, None], 0, MELS - 1)  # [b, 64]
    low = np.minimum(at.astype(np.int64), MELS - 2)
    part = at - low
    matrix = np.zeros((len(log_mel), MELS, MELS), np.float32)
    rows, columns = np.arange(len(log_mel))[:, None], np.arange(MELS)
    matrix[rows, low, columns] = 1 - part
    matrix[rows, low + 1, columns] += part
    return np.asarray(log_mel @ matrix, np.float32)


def spoil(
    log_mel: Array, lengths: NDArray[np.int64], random: np.random.Generator, hard: float = 1.0
) -> Array:
    """What rooms, microphones and other people do to a clip: [b, f, 64] → [b, f, 64], peaks at about 0
    nats. ``hard``: 0 to 1.

    Sums are taken of powers: one exp and one log a clip (``logaddexp`` is thirty times as slow).
    """
    count, frames, _ = log_mel.shape
    level = log_mel - log_mel.max((1, 2), keepdims=True)
    contrast = 1 + hard * random.uniform(-0.2, 0.2, (count, 1, 1)).astype(np.float32)
    power = np.exp(level * contrast)
    babble = np.exp(-random.uniform(2.5, 6.0, count)) * (random.random(count) < 0.12 * hard)
    power = power + np.roll(power, 1, 0) * babble.astype(np.float32)[:, None, None]
    if random.random() < 0.6 * hard:
        power = _room(power, random)
    power *= np.exp(np.float32(hard) * _microphone(count, random))[:, None, :]
    below = random.uniform(9.0 - 5.5 * hard, 13.0, (count,)).astype(np.float32)  # nats under the peak
    below[random.random(count) < 0.15] = 60.0  # a silent room
    noise = np.exp(_microphone(count, random) - below[:, None])[:, None, :]
    power += noise * random.standard_exponential((count, frames, MELS), np.float32)
    log_mel = np.log(power + np.float32(1e-7))
    return _mask(log_mel, lengths, random) if random.random() < hard else log_mel


def _room(power: Array, random: np.random.Generator) -> Array:
    """Add a decaying tail (RT60 of 0.15 to 0.9 s) to half of the clips; power [b, f, 64] → the same."""
    seconds = random.uniform(0.15, 0.9, (len(power), 1))
    keep = np.exp(-13.8 * 0.0125 / seconds).astype(np.float32)
    gain = (
        np.exp(random.uniform(-3.0, -0.7, (len(power), 1))) * (random.random((len(power), 1)) < 0.5)
    ).astype(np.float32)
    tail = np.zeros_like(power[:, 0])
    out = np.empty_like(power)
    for frame in range(power.shape[1]):
        out[:, frame] = power[:, frame] + tail * gain
        tail = (tail + power[:, frame]) * keep
    return out


def _microphone(count: int, random: np.random.Generator) -> Array:
    """A smooth colouring of the bands [count, 64]: tilt, four-point curve and, for one in four, a
    telephone's band."""
    band = np.linspace(-1, 1, MELS, dtype=np.float32)
    curve = random.uniform(-2.0, 2.0, (count, 1)) * band
    knots = random.normal(0, 0.6, (count, 5))
    place = (band + 1) * 2 * 0.999
    low = place.astype(np.int64)
    curve = curve + knots[:, low] + (knots[:, low + 1] - knots[:, low]) * (place - low)
    narrow = random.random((count, 1)) < 0.25
    lowest: NDArray[np.int64] = random.integers(0, 9, (count, 1))
    highest: NDArray[np.int64] = random.integers(44, 64, (count, 1))
    outside = (np.arange(MELS) < lowest) | (np.arange(MELS) > highest)
    return np.asarray(curve - 7.0 * (narrow & outside), np.float32)


def _mask(x: Array, lengths: NDArray[np.int64], random: np.random.Generator) -> Array:
    """Blank up to two stretches of time (a twelfth of the clip each) and two of frequency (7 bands each)."""
    count, frames, _ = x.shape
    quiet = x.min((1, 2), keepdims=True)
    hidden = np.zeros((count, frames, MELS), np.bool_)
    for _ in range(2):
        start = random.random((count,)) * lengths
        stop = start + random.random(count) * lengths / 12
        time = np.arange(frames)
        hidden |= ((time >= start[:, None]) & (time < stop[:, None]))[..., None]
        low = random.integers(0, MELS, (count,))
        high = low + random.integers(0, 8, (count,))
        band = np.arange(MELS)
        hidden |= ((band >= low[:, None]) & (band < high[:, None]))[:, None, :]
    return np.asarray(np.where(hidden, quiet, x), np.float32)
