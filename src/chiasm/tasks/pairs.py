"""What models say that read a picture and a text together: whether they belong together, answers, objects."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chiasm.errors import InvalidInput
from chiasm.modality import Modality
from chiasm.preprocess.places import Box
from chiasm.preprocess.prepared import PreparedItem, PreparedPart

Message = tuple[dict[str, Any], list[NDArray[Any]]]


@runtime_checkable
class Matches(Protocol):
    """The ability to judge pairs."""

    def score(self, pictures: Sequence[PreparedPart], texts: Sequence[PreparedPart]) -> Tensor:
        """Logits ``[n]`` that the n-th picture and the n-th text belong together."""


@runtime_checkable
class Answers(Protocol):
    """The ability to answer questions about pictures."""

    def answer(
        self, pictures: Sequence[PreparedPart], questions: Sequence[PreparedPart], top_k: int = 5
    ) -> Sequence[Sequence[tuple[str, float]]]:
        """The likeliest answers to each, best first, with probabilities."""


@runtime_checkable
class Detects(Protocol):
    """The ability to find objects in pictures."""

    def detect(
        self, picture: PreparedPart, text: PreparedPart | None = None, *, least: float = 0.5
    ) -> Sequence[tuple[str, float, Box]]:
        """Labels, probabilities of at least so much, best first, and boxes: left, top, right, bottom in
        [0, 1], as shares of the whole picture. With a text: of what it looks for."""


def match_items(model: object, items: Sequence[PreparedItem], options: Mapping[str, Any]) -> Message:
    """The probability in (0, 1) that the first item and each of the others belong together: float32 ``[n]``.

    Raises:
        InvalidInput: not a picture with a text; ``param`` is ``input[i]``. A model that cannot judge.
    """
    if not isinstance(model, Matches):
        raise _cannot("judges pairs", "判断图文是否相配")
    pairs = [_pair(items[0], other, n) for n, other in enumerate(items[1:], 1)]
    if not pairs:
        return {}, [np.zeros(0, np.float32)]
    with torch.inference_mode():
        logits = model.score([picture for picture, _ in pairs], [text for _, text in pairs])
    return {}, [logits.float().sigmoid().cpu().numpy()]


def answer_items(model: object, items: Sequence[PreparedItem], options: Mapping[str, Any]) -> Message:
    """The ``top_k`` likeliest answers to a question about a picture, given as two items in any order.

    Raises:
        InvalidInput: not a picture and a text, or a model that cannot answer.
    """
    if not isinstance(model, Answers):
        raise _cannot("answers questions", "回答问题")
    picture, question = _pair(items[0], items[1], 1)
    with torch.inference_mode():
        found = model.answer([picture], [question], top_k=int(options["top_k"]))[0]
    return {"answers": [[text, float(probability)] for text, probability in found]}, []


def detect_items(model: object, items: Sequence[PreparedItem], options: Mapping[str, Any]) -> Message:
    """The objects in a picture whose probability is at least ``threshold``, best first, as data; with a
    second item, a text, those that it looks for.

    Raises:
        InvalidInput: not a picture, or a picture and a text; or a model that cannot detect.
    """
    if not isinstance(model, Detects):
        raise _cannot("detects objects", "检测物体")
    if len(items) == 1:
        picture, text = _picture(items[0]), None
    else:
        picture, text = _pair(items[0], items[1], 1)
    with torch.inference_mode():
        found = model.detect(picture, text, least=float(options["threshold"]))
    return {"objects": [[label, float(probability), list(box)] for label, probability, box in found]}, []


def _picture(item: PreparedItem) -> PreparedPart:
    if [part.modality for part in item.parts] != [Modality.IMAGE]:
        kinds = [part.modality.value for part in item.parts]
        raise InvalidInput(
            f"expected a picture, got {' and '.join(kinds)}",
            f"应为一张图片，实际为 {'、'.join(kinds)}",
            param="input[0]",
        )
    return item.parts[0]


def _pair(one: PreparedItem, other: PreparedItem, number: int) -> tuple[PreparedPart, PreparedPart]:
    """The picture and the text of two items."""
    parts = {part.modality: part for item in (one, other) for part in item.parts}
    if len(one.parts) + len(other.parts) != 2 or set(parts) != {Modality.IMAGE, Modality.TEXT}:
        kinds = [part.modality.value for item in (one, other) for part in item.parts]
        raise InvalidInput(
            f"expected a picture and a text, got {' and '.join(kinds)}",
            f"应为一张图片与一段文本，实际为 {'、'.join(kinds)}",
            param=f"input[{number}]",
        )
    return parts[Modality.IMAGE], parts[Modality.TEXT]


def _cannot(what: str, what_zh: str) -> InvalidInput:
    return InvalidInput(
        f"expected a model that {what}, got one that does not",
        f"该模型不能{what_zh}",
        code="unsupported_task",
        param="model",
    )
