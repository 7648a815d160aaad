"""What a model of ``transformers`` takes, and what of its answer is the vector: read off its methods."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from chiasm.checkpoints.foreign import ImageNumbers, read_image_numbers
from chiasm.checkpoints.processors import picture_processor, sound_processor
from chiasm.checkpoints.published import POOLINGS, read_pooling
from chiasm.errors import CheckpointError
from chiasm.models.foreign.model import ForeignPooling, Prepare
from chiasm.preprocess.config import AudioPreprocess

FOREIGN_POOLINGS = {**POOLINGS, "pooling_mode_lasttoken": "last"}
SEEN = 64
"""Pixels of the sides of a picture to try a preparation with."""
_SOUNDS = ("input_values", "input_features")
# arguments that models have defaults for, or that both sides agree on
_GIVEN = {"self", "input_ids", "attention_mask", "pixel_values", "kwargs", "args"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Abilities:
    """What stands for a text, a picture, a sound; None: it takes none.

    ``numbers`` prepare pictures where ours can, else ``own_image`` does; ``own_audio`` prepares sounds.
    """

    text: ForeignPooling | None = None
    image: ForeignPooling | None = None
    audio: ForeignPooling | None = None
    numbers: ImageNumbers | None = None
    own_image: Prepare | None = None
    own_audio: Prepare | None = None
    sound: AudioPreprocess | None = None


def of(folder: Path, model: Any, kind: str) -> Abilities:
    """Of a model that was loaded from a folder.

    Raises:
        CheckpointError: it takes neither texts nor pictures nor sounds, or what prepares them is missing.
    """
    if any(hasattr(model, f"get_{what}_features") for what in ("text", "image", "audio")):
        found = _with_features(folder, model, kind)
    elif model.main_input_name == "input_ids" and _simple(model.forward, "input_ids") and not seq2seq(model):
        found = Abilities(text=_text_pooling(folder, model))
    elif model.main_input_name == "pixel_values" and not seq2seq(model):
        found = _with_pictures(folder, model, kind)
    elif model.main_input_name in _SOUNDS and not seq2seq(model):
        found = _with_sounds(folder, model, kind)
    else:
        found = Abilities()
    if found.text is found.image is found.audio is None:
        others = sorted(set(inspect.signature(model.forward).parameters) - _GIVEN)[:6]
        raise CheckpointError(
            f"{kind}: expected a model of texts, pictures or sounds, got one of other inputs: {others}",
            f"{kind}：只支持以文本、图片或声音为输入的模型",
            param="model_type",
        )
    return found


def talks(model: Any) -> bool:
    """Whether it is a decoder that reads pictures among words."""
    given = inspect.signature(model.forward).parameters
    both = "input_ids" in given and "pixel_values" in given
    decoder = hasattr(model.config, "text_config") and not seq2seq(model)
    return both and decoder and not hasattr(model, "get_text_features")


def seq2seq(model: Any) -> bool:
    """Whether it has an encoder and a decoder."""
    return bool(getattr(model.config, "is_encoder_decoder", False)) and hasattr(model, "decoder")


def _with_features(folder: Path, model: Any, kind: str) -> Abilities:
    text, image, audio = (_method(model, f"get_{what}_features") for what in ("text", "image", "audio"))
    numbers, own_image = None, None
    takes_pictures = image is not None and "pixel_values" in inspect.signature(image).parameters
    if image is not None and takes_pictures:
        numbers = _numbers(folder) if _simple(image, "pixel_values") else None
        own_image = None if numbers else picture_processor(folder, kind)
    own_audio, sound = None, None
    if audio is not None and set(_SOUNDS) & set(inspect.signature(audio).parameters):
        own_audio, sound = sound_processor(folder, kind)
    return Abilities(
        text="features" if text is not None and _simple(text, "input_ids") else None,
        image="features" if takes_pictures else None,
        audio="features" if own_audio else None,
        numbers=numbers,
        own_image=own_image,
        own_audio=own_audio,
        sound=sound,
    )


def _with_pictures(folder: Path, model: Any, kind: str) -> Abilities:
    like = next(model.parameters())
    numbers = _numbers(folder) if _simple(model.forward, "pixel_values") else None
    if numbers is not None:
        side = numbers.preprocess.side
        blank = {"pixel_values": torch.zeros((1, 3, side, side), dtype=like.dtype)}
        return Abilities(image=_pooling(model, blank), numbers=numbers)
    own = picture_processor(folder, kind)
    return Abilities(image=_pooling(model, own(np.zeros((SEEN, SEEN, 3), np.uint8))), own_image=own)


def _with_sounds(folder: Path, model: Any, kind: str) -> Abilities:
    own, sound = sound_processor(folder, kind)
    silence = own(np.zeros(sound.rate, np.float32))
    return Abilities(audio=_pooling(model, silence), own_audio=own, sound=sound)


def _numbers(folder: Path) -> ImageNumbers | None:
    """Ours, if they can say what the family does."""
    try:
        return read_image_numbers(folder)
    except CheckpointError:
        return None


def _method(model: Any, name: str) -> Callable[..., Any] | None:
    return getattr(model, name, None)


def _simple(method: Callable[..., Any], given: str) -> bool:
    """Whether it needs nothing else."""
    parameters = inspect.signature(method).parameters
    needed = {
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}
    }
    others = {"image_grid_thw", "spatial_shapes", "pixel_attention_mask", "aspect_ratio_ids", "image_sizes"}
    return given in parameters and needed <= {given, "self"} and not others & set(parameters)


def _text_pooling(folder: Path, model: Any) -> ForeignPooling:
    """What sentence-transformers' files say; else the last token of a decoder, and the mean of an encoder."""
    decoder = not any(hasattr(model, name) for name in ("encoder", "layers_encoder")) and _causal(model)
    otherwise = "last" if decoder else "mean"
    return cast(ForeignPooling, read_pooling(folder, model.config.hidden_size, FOREIGN_POOLINGS, otherwise))


def _causal(model: Any) -> bool:
    """A decoder's last token has seen all; its name is in the list of language models."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING  # noqa: PLC0415

    kind = type(model.config)
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING


@torch.inference_mode()
def _pooling(model: Any, blank: Mapping[str, torch.Tensor]) -> ForeignPooling:
    """The pooler's output if there is one whose weights were there; else the class token, else the mean."""
    answer = model(**blank)
    if getattr(answer, "pooler_output", None) is not None and model.loaded_pooler:
        return "pooler"
    has_token = hasattr(getattr(model, "embeddings", None), "cls_token")
    return "cls" if has_token and answer.last_hidden_state.dim() == 3 else "mean"
