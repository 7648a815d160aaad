"""Pictures a second: ``model.embed`` beside a bare loop, and indexing beside ``model.embed``."""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from chiasm.evaluation.report import Row, Target, measured
from chiasm.evaluation.speed.subject import Subject, chunks, turns, write_jpegs
from chiasm.library import open_library
from chiasm.settings import Settings
from chiasm.stores import DataDirLock

GROUP = "pictures"
FILES, CHUNK = 2000, 200
_BATCH = 32


def pictures(subject: Subject) -> list[Row]:
    """Speeds relative to the simpler way, on JPEGs of 640x480 that both read from disk."""
    with tempfile.TemporaryDirectory(prefix="chiasm-bench-") as name:
        folder = Path(name)
        count, size = subject.count(FILES, 32), subject.count(CHUNK, 16)
        groups = [
            write_jpegs(folder / f"group-{i:03d}", len(part), seed=i)
            for i, part in enumerate(chunks([folder] * count, size))
        ]
        subject.model.embed(groups[0][:_BATCH])  # first calls are slower
        return [_beside_bare_loop(subject, groups), _beside_embed(subject, groups, folder / "data")]


def bare_loop(subject: Subject, paths: Sequence[Path]) -> NDArray[np.float32]:
    """What one writes without the toolkit: unit vectors [n, d]."""
    side = subject.model.description.preprocess.image.side
    out = []
    with torch.inference_mode():
        for start in range(0, len(paths), _BATCH):
            pixels = np.stack([_read(path, side) for path in paths[start : start + _BATCH]])
            vectors, _ = subject.module.image(torch.from_numpy(pixels))
            out.append(torch.nn.functional.normalize(vectors, dim=-1).numpy())
    return np.concatenate(out)


def _read(path: Path, side: int) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def _beside_bare_loop(subject: Subject, groups: Sequence[Sequence[Path]]) -> Row:
    taken = turns(
        lambda i: subject.model.embed(list(groups[i])), lambda i: bare_loop(subject, groups[i]), len(groups)
    )
    return _row("model.embed beside a bare Pillow + torch loop", taken, groups, "bare loop", 0.9)


def _beside_embed(subject: Subject, groups: Sequence[Sequence[Path]], data_dir: Path) -> Row:
    settings = Settings()
    settings = dataclasses.replace(settings, library=dataclasses.replace(settings.library, data_dir=data_dir))
    with (
        DataDirLock(data_dir),
        open_library(settings, subject.model, preprocessor=subject.model.preprocessor) as library,
    ):
        store = library.ensure_store("bench").store.id
        taken = turns(
            lambda i: library.index_folder(store, groups[i][0].parent),
            lambda i: subject.model.embed(list(groups[i])),
            len(groups),
        )
    return _row("indexing a folder beside model.embed", taken, groups, "model.embed", 0.8)


def _row(
    what: str, taken: NDArray[np.float64], groups: Sequence[Sequence[Path]], other: str, least: float
) -> Row:
    files = sum(len(group) for group in groups)
    total = taken.sum(axis=0)
    row = measured(
        GROUP,
        f"{what}: relative speed ({len(groups)} rounds; {files / total[0]:.0f} and {files / total[1]:.0f} "
        f"pictures a second, {other} the latter)",
        taken[:, 1] / taken[:, 0],
        target=Target(least=least),
        unit="x",
    )
    return dataclasses.replace(row, n=files)
