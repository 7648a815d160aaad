"""Pictures as a model takes them, read in threads while the one before is computed."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import ChiasmError
from chiasm.media import decode
from chiasm.modality import Image, Modality
from chiasm.preprocess.config import ImagePreprocess
from chiasm.preprocess.image import ImagePreprocessor
from chiasm.settings import Limits

T = TypeVar("T")
Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]


class PictureReader:
    """Decodes within limits and prepares by a model's numbers. Thread-safe.

    Args:
        config: the model's numbers. limits: of a file. pool: whose threads decode.
        crop: least share of a picture's area that random cuts take; 0 takes all of it.
    """

    def __init__(
        self, config: ImagePreprocess, limits: Limits, pool: ThreadPoolExecutor, *, crop: float = 0.0
    ) -> None:
        self._limits = limits
        self._pool = pool
        self._crop = crop
        self._whole = ImagePreprocessor(config)
        self._cut = ImagePreprocessor(replace(config, fit="squash", trim=False))
        self._enough = 2 * (config.resize or config.side)

    def read(self, file: Path) -> Pixels:
        """uint8 ``[side, side, 3]``; raises ChiasmError, naming the file."""
        return self._whole(self._decoded(file))

    def check(self, file: Path) -> None:
        """Decode it at the least size and forget it; raises as :meth:`read`."""
        self._decoded(file, 1)

    def read_all(self, files: Sequence[Path], seeds: Sequence[tuple[int, ...]] | None = None) -> Pixels:
        """uint8 ``[n, side, side, 3]``; with a seed for each, and where cuts are wanted, of random ones."""
        if seeds is None or not self._crop:
            return np.stack(list(self._pool.map(self.read, files)))
        return np.stack(list(self._pool.map(self._read_cut, files, seeds)))

    def attempts(
        self, files: Sequence[Path], run: Callable[[Path], T], size: int
    ) -> Iterator[list[T | ChiasmError]]:
        """What ``run`` makes of the files or why it cannot, ``size`` at a time, one lot ahead."""
        coming: list[Future[T | ChiasmError]] = []
        for start in range(0, len(files) + size, size):
            lot = [self._pool.submit(_attempt, run, file) for file in files[start : start + size]]
            if coming:
                yield [one.result() for one in coming]
            coming = lot

    def _read_cut(self, file: Path, seed: tuple[int, ...]) -> Pixels:
        pixels = self._decoded(file)
        height, width = pixels.shape[:2]
        left, top, right, bottom = random_box(width, height, self._crop, np.random.default_rng(seed))
        return self._cut(pixels[top:bottom, left:right])

    def _decoded(self, file: Path, side: int | None = None) -> Pixels:
        try:
            part = decode(file, self._limits, expect=Modality.IMAGE, min_side=side or self._enough)
        except ChiasmError as error:
            raise error.about(str(file)) from None
        assert isinstance(part, Image)
        return part.pixels


def random_box(width: int, height: int, least: float, rng: np.random.Generator) -> Box:
    """A part of a picture (left, top, right, bottom) of a random share of its area, ``least`` to 1, and with
    sides in a random ratio of 3/4 to 4/3 (Szegedy et al. 2015, section 6); all of it if none fits.
    """
    for _ in range(10):
        area = width * height * rng.uniform(least, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1))
            return left, top, left + across, top + down
    return 0, 0, width, height


def _attempt(run: Callable[[Path], T], file: Path) -> T | ChiasmError:
    try:
        return run(file)
    except ChiasmError as error:
        return error
