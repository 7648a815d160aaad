"""Item → PreparedItem, by the numbers of one model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from chiasm.errors import ChiasmError, InvalidInput
from chiasm.modality import Audio, Image, Item, Modality, Part, Text, Video
from chiasm.preprocess.audio import AudioPreprocessor
from chiasm.preprocess.description import ModelDescription
from chiasm.preprocess.image import ImagePreprocessor
from chiasm.preprocess.places import Box, Place
from chiasm.preprocess.prepared import PreparedItem, PreparedPart
from chiasm.preprocess.recognise import Transcript
from chiasm.preprocess.text import TextPreprocessor
from chiasm.preprocess.video import VideoPreprocessor

RECOGNISER_RATE = 16_000


class Recogniser(Protocol):
    """Whatever hears words in sound."""

    def hear(self, samples: NDArray[np.float32]) -> Transcript | None:
        """The words in mono float32 samples at 16 kHz; ``None`` without words."""


class Preprocessor:
    """Prepares items for one model; thread-safe if the recogniser is.

    Args:
        description: the model's numbers and tokenizer.
        recogniser: what hears words in sound; without one, sound carries no transcript.

    Raises:
        CheckpointError: a description whose tokenizer cannot be read.
    """

    def __init__(self, description: ModelDescription, recogniser: Recogniser | None = None) -> None:
        config = description.preprocess
        self.description = description
        self._costs = config.costs
        self._text = TextPreprocessor(config.text, description.tokenizer) if description.tokenizer else None
        self._image = ImagePreprocessor(config.image)
        self._audio = AudioPreprocessor(config.audio)
        self._frame = ImagePreprocessor(replace(config.image, trim=config.video.trim))
        self._video = VideoPreprocessor(config.video, self._frame)
        self._recogniser = recogniser

    def prepare(self, item: Item) -> PreparedItem:
        """The item as the model takes it.

        Raises:
            InvalidInput: a modality that the model does not take, or text that is not Unicode.
        """
        parts = []
        for index, part in enumerate(item.parts):
            try:
                parts.append(self.prepare_part(part))
            except ChiasmError as error:
                raise error if len(item.parts) == 1 else error.at(f"content[{index}]") from None
        return PreparedItem(tuple(parts))

    def text_places(self, text: str) -> list[Place]:
        """What the tokens of a text are, special ones included, as far as the model reads it.

        Raises:
            InvalidInput: the model takes no text, or this is not Unicode.
        """
        if self._text is None:
            raise _not_taken(self.description, Modality.TEXT)
        return self._text.places(text)

    def boxes_in(
        self, pixels: NDArray[np.uint8], boxes: Sequence[Box | None], *, frame: bool = False
    ) -> list[Box | None]:
        """Boxes of what the model is shown of a picture (or ``frame`` of a clip) ``[h, w, 3]``, in shares, as
        shares of the picture itself."""
        image = self._frame if frame else self._image
        return [None if box is None else image.box_in_picture(box, pixels) for box in boxes]

    def prepare_part(self, part: Part) -> PreparedPart:
        """One part; raises as :meth:`prepare` does."""
        modality = part.modality
        if modality not in self.description.modalities:
            raise _not_taken(self.description, modality)
        match part:
            case Text():
                return self._prepare_text(part)
            case Image():
                return PreparedPart(modality, {"pixels": self._image(part.pixels)}, 0, self._costs.image)
            case Audio():
                return self._prepare_audio(part)
            case Video():
                return self._prepare_video(part)

    def _prepare_text(self, part: Text) -> PreparedPart:
        if self._text is None:
            raise _not_taken(self.description, Modality.TEXT)
        ids, cut = self._text(part.text)
        arrays: dict[str, NDArray[Any]] = {"token_ids": ids}
        if self.description.preprocess.text.words:
            kept = self._text.kept(part.text) if cut else part.text
            arrays["utf8"] = np.frombuffer(kept.encode(), np.uint8)
        return PreparedPart(Modality.TEXT, arrays, cut, len(ids) * self._costs.text_token)

    def _prepare_audio(self, part: Audio) -> PreparedPart:
        samples, cut = self._audio.samples(part)
        arrays = {**self._sound(samples), **self._transcript(samples)}
        cost = self._sound_cost(samples) + len(arrays.get("transcript_ids", ())) * self._costs.text_token
        return PreparedPart(Modality.AUDIO, arrays, math.ceil(cut), cost)

    def _prepare_video(self, part: Video) -> PreparedPart:
        arrays: dict[str, NDArray[Any]] = {"pixels": self._video(part.frames)}
        cost = len(arrays["pixels"]) * self._costs.video_frame
        cut = 0.0
        if part.sound is not None:
            samples, cut = self._audio.samples(part.sound)
            arrays |= self._sound(samples)
            cost += self._sound_cost(samples)
        return PreparedPart(Modality.VIDEO, arrays, math.ceil(cut), cost)

    def _sound(self, samples: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        if self._audio.config.waveform:
            return {"samples": samples}
        return {"log_mel": self._audio.log_mel(samples)}

    def _transcript(self, samples: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
        if self._recogniser is None or self._text is None:
            return {}
        rate = self._audio.config.rate
        if rate != RECOGNISER_RATE:
            samples = soxr.resample(samples, rate, RECOGNISER_RATE)
        heard = self._recogniser.hear(samples)
        if heard is None:
            return {}
        ids = [self._text(words)[0] for words in heard.texts]
        return {
            "transcript_ids": np.concatenate(ids),
            "transcript_lengths": np.asarray([len(row) for row in ids], np.int32),
            "transcript_shares": np.asarray(heard.shares, np.float32),
            "transcript_confidence": np.asarray([heard.confidence], np.float32),
        }

    def _sound_cost(self, samples: NDArray[np.float32]) -> float:
        return len(samples) / self._audio.config.rate * self._costs.audio_second


def _not_taken(description: ModelDescription, modality: Modality) -> InvalidInput:
    names = [m.value for m in description.modalities]
    return InvalidInput(
        f"{description.name} takes {', '.join(names)}; got {modality.value}",
        f"{description.name} 支持 {'、'.join(names)}；实际为 {modality.value}",
        code="unsupported_modality",
    )
