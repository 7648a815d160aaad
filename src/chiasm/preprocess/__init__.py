"""Arrays → model inputs: tokenise, resize, log-mel, frame sampling. No torch."""

from chiasm.preprocess.config import (
    AudioPreprocess,
    Costs,
    ImagePreprocess,
    PreprocessConfig,
    TextPreprocess,
    VideoPreprocess,
)
from chiasm.preprocess.description import ModelDescription
from chiasm.preprocess.prepared import Embedder, PreparedItem, PreparedPart
from chiasm.preprocess.preprocessor import Preprocessor, Recogniser

__all__ = [
    "AudioPreprocess",
    "Costs",
    "Embedder",
    "ImagePreprocess",
    "ModelDescription",
    "PreparedItem",
    "PreparedPart",
    "PreprocessConfig",
    "Preprocessor",
    "Recogniser",
    "TextPreprocess",
    "VideoPreprocess",
]
