"""A corpus of log-mel spectrograms on disk: all frames in one uint8 file, where each clip lies in one index.

A byte is ``(log_mel + 13.82) * 12``: steps of a twelfth of a nat from the floor of the spectrogram upwards.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import DataError

LOWEST = -13.82
"""The spectrogram's floor, ``log(1e-6)``."""
STEPS = 12.0
"""Bytes per nat."""
MELS = 64
MIN_FRAMES = 8
"""Shorter clips are dropped: nothing was said."""


def quantise(log_mel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """float32 log-mel of any shape to bytes, clipped at both ends."""
    return np.asarray(np.clip(np.rint((log_mel - LOWEST) * STEPS), 0, 255), np.uint8)


def dequantise(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Undo :func:`quantise` up to half a step."""
    return levels.astype(np.float32) * np.float32(1 / STEPS) + np.float32(LOWEST)


@dataclass(frozen=True, kw_only=True)
class MelShard:
    """Clips that lie one after another.

    Attributes:
        frames: uint8 ``[total, 64]``, mapped from disk.
        offsets, lengths: int64 ``[clips]``: clip ``i`` is ``frames[offsets[i]:offsets[i] + lengths[i]]``.
        labels: int64 ``[clips]``: what is heard (row of the corpus's table of names).
        voices: int64 ``[clips]``: who says or plays it.
    """

    frames: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    voices: NDArray[np.int64]

    def clip(self, index: int) -> NDArray[np.float32]:
        """Log-mel float32 ``[frames, 64]`` of one clip."""
        start = int(self.offsets[index])
        return dequantise(self.frames[start : start + int(self.lengths[index])])

    def where(self, kept: NDArray[np.bool_]) -> "MelShard":
        """The clips for which ``kept`` [clips] is True."""
        return replace(
            self,
            offsets=self.offsets[kept],
            lengths=self.lengths[kept],
            labels=self.labels[kept],
            voices=self.voices[kept],
        )

    def shifted(self, labels: int) -> "MelShard":
        """The same clips with ``labels`` added to every label."""
        return replace(self, labels=self.labels + labels)


def write_shard(stem: Path, clips: Iterable[tuple[NDArray[np.float32], int, int]]) -> int:
    """Write clips ``(log_mel [frames, 64], label, voice)`` to ``stem.u8`` and ``stem.npz``; returns how
    many."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[int, int, int]] = []
    with stem.with_suffix(".u8").open("wb") as stream:
        for log_mel, label, voice in clips:
            if len(log_mel) >= MIN_FRAMES:
                stream.write(quantise(log_mel).tobytes())
                rows.append((len(log_mel), label, voice))
    table = np.asarray(rows, np.int64).reshape(-1, 3)
    offsets = np.concatenate([[0], np.cumsum(table[:-1, 0])]) if len(table) else table[:, 0]
    part = stem.with_suffix(".part.npz")
    np.savez(part, offsets=offsets, lengths=table[:, 0], labels=table[:, 1], voices=table[:, 2])
    part.rename(stem.with_suffix(".npz"))  # the index appears only when the frames are whole
    return len(table)


def read_shard(stem: Path) -> MelShard:
    """Map a shard.

    Raises:
        DataError: its files are missing or disagree.
    """
    try:
        with np.load(stem.with_suffix(".npz")) as index:
            columns = {
                name: index[name].astype(np.int64) for name in ("offsets", "lengths", "labels", "voices")
            }
        frames = np.memmap(stem.with_suffix(".u8"), np.uint8, mode="r").reshape(-1, MELS)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"expected an audio shard at {stem.name}, got {error}",
            f"{stem.name} 处应有音频分片，实际：{error}",
        ) from error
    if len(columns["lengths"]) and len(frames) != columns["lengths"].sum():
        raise DataError(f"{stem.name}: the index does not fit the frames", f"{stem.name}：索引与帧不一致")
    return MelShard(frames=frames, **columns)


def shorter(shard: MelShard, frames: int) -> MelShard:
    """The clips of at most ``frames`` frames."""
    return shard.where(shard.lengths <= frames)


def join(shards: Iterable[MelShard]) -> MelShard:
    """Put several shards into one in memory."""
    parts = list(shards)
    starts = np.cumsum([0, *(len(part.frames) for part in parts)])
    return MelShard(
        frames=np.concatenate([part.frames for part in parts]),
        offsets=np.concatenate(
            [part.offsets + start for part, start in zip(parts, starts[:-1], strict=True)]
        ),
        lengths=np.concatenate([part.lengths for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        voices=np.concatenate([part.voices for part in parts]),
    )
