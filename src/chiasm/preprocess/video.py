"""Clip → evenly spaced pictures."""

import numpy as np
from numpy.typing import NDArray

from chiasm.media.sampling import evenly
from chiasm.preprocess.config import VideoPreprocess
from chiasm.preprocess.image import ImagePreprocessor


class VideoPreprocessor:
    """Pick the frames that stand for a clip and prepare each as a picture. Thread-safe."""

    def __init__(self, config: VideoPreprocess, image: ImagePreprocessor) -> None:
        self.config = config
        self._image = image

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 ``[n, h, w, 3]`` → uint8 ``[frames, side, side, 3]``."""
        chosen = evenly(len(frames), self.config.frames)
        prepared = {index: self._image(frames[index]) for index in set(chosen)}
        return np.stack([prepared[index] for index in chosen])
