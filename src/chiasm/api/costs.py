"""What a request needs of a budget: exactly for what goes into the model, by its size for what is indexed."""

from collections.abc import Iterable
from math import ceil
from pathlib import Path

from chiasm.errors import ChiasmError
from chiasm.media import probe
from chiasm.modality import Modality
from chiasm.preprocess import ModelDescription, PreparedItem
from chiasm.settings import Settings
from chiasm.stores import Amounts

TEXT_BYTES = 3  # of a text file for one token: about right for Chinese, more than right for English


def amounts_of(items: Iterable[PreparedItem], description: ModelDescription) -> Amounts:
    """What the model reads: tokens of text and of words that were heard, pixels, seconds of sound."""
    audio = description.preprocess.audio
    tokens, pixels, seconds = 0, 0, 0.0
    for part in (part for item in items for part in item.parts):
        arrays = part.arrays
        tokens += sum(len(arrays[name]) for name in ("token_ids", "transcript_ids") if name in arrays)
        if "pixels" in arrays:
            pixels += arrays["pixels"].size // 3
        seconds += part.seconds(audio)
    return Amounts(text_tokens=tokens, pixels=pixels, media_seconds=seconds)


def estimate_of(path: Path, settings: Settings, description: ModelDescription) -> Amounts:
    """What indexing a file will need; nothing for what cannot be read, which indexing will say."""
    try:
        info = probe(path, settings.limits)
        size = path.stat().st_size
    except (ChiasmError, OSError):
        return Amounts()
    side = description.preprocess.image.side**2
    if info.type.modality is Modality.TEXT:
        return Amounts(text_tokens=ceil(size / TEXT_BYTES))
    if info.type.modality is Modality.IMAGE:
        return Amounts(pixels=side)
    seconds = info.seconds or settings.library.segment_seconds
    if info.type.modality is Modality.AUDIO:
        return Amounts(media_seconds=seconds)
    stretches = ceil(seconds / settings.library.segment_seconds)
    return Amounts(media_seconds=seconds, pixels=stretches * description.preprocess.video.frames * side)
