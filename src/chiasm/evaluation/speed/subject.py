"""What is timed, and how two ways of doing the same take turns."""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chiasm import checkpoints
from chiasm.data.builders.views import make_background
from chiasm.inference import Model
from chiasm.models.mini.model import ChiasmMini
from chiasm.models.mini.optimise import optimise_for_inference
from chiasm.models.mini.recogniser import recogniser_of
from chiasm.preprocess import Preprocessor

_WIDTH, _HEIGHT = 640, 480
_SHAPES = 12


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, its bare module, where it came from, and whether to take few repetitions."""

    source: str | None
    model: Model
    module: ChiasmMini
    quick: bool = False

    def count(self, usual: int, quick: int) -> int:
        """How many repetitions."""
        return quick if self.quick else usual


def load_subject(source: str | None, *, quick: bool = False) -> Subject:
    """The model on the CPU, with its module at hand for bare loops."""
    module, description = checkpoints.load_mini(checkpoints.resolve(source), "cpu")
    optimise_for_inference(module)
    model = Model(module, description, Preprocessor(description, recogniser_of(description)))
    return Subject(source=source, model=model, module=module, quick=quick)


def turns(
    first: Callable[[int], object], second: Callable[[int], object], rounds: int
) -> NDArray[np.float64]:
    """Seconds [rounds, 2] of two ways to do round ``i``; every other round the second goes first."""
    taken = np.zeros((rounds, 2))
    for i in range(rounds):
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            way = (first, second)[which]
            started = time.perf_counter()
            way(i)
            taken[i, which] = time.perf_counter() - started
    return taken


def write_jpegs(folder: Path, count: int, *, seed: int = 7) -> list[Path]:
    """Different pictures of 640x480 with the detail of photographs, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(jpeg(np.random.default_rng([seed, number])))
    return paths


def jpeg(rng: np.random.Generator) -> bytes:
    """One such picture's bytes."""
    picture = make_background(rng, _WIDTH).crop((0, 0, _WIDTH, _HEIGHT))
    for _ in range(_SHAPES):
        side = int(rng.integers(20, 200))
        patch = Image.new("RGB", (side, side), tuple(int(v) for v in rng.integers(0, 256, 3)))
        picture.paste(patch, (int(rng.integers(_WIDTH)), int(rng.integers(_HEIGHT))))
    grain = rng.integers(-12, 13, (_HEIGHT, _WIDTH, 1))
    pixels = (np.asarray(picture, dtype=np.int16) + grain).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=88)
    return out.getvalue()


def chunks(paths: Sequence[Path], size: int) -> list[list[Path]]:
    """Runs of ``size``."""
    return [list(paths[i : i + size]) for i in range(0, len(paths), size)]
