"""Models that read pictures and words as one conversation, and whose last token stands for all of it."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from chiasm.modality import Modality
from chiasm.preprocess.prepared import PreparedItem, PreparedPart

AT_ONCE = 8
"""Conversations: pictures that keep their size can be thousands of tokens each."""
Message = Mapping[str, Any]


class ForeignConversation(nn.Module):
    """A decoder of ``transformers`` that takes pictures, behind ``embed``: each item is what a user says.

    Args:
        model: its answer has the states of all tokens.
        processor: of the same package: texts with pictures → what the model takes.
        render: messages → the text that the model was trained to read, up to where it would answer.
        dim: of its vectors.
        instruction: what it is told before; nothing if empty.
        special: tokens that mean something to it; a user's text loses them.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Callable[..., Mapping[str, Tensor]],
        render: Callable[[Sequence[Message]], str],
        dim: int,
        *,
        instruction: str = "",
        special: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.dim = dim
        self.instruction = instruction
        self._processor, self._render = processor, render
        longest_first = sorted(filter(None, special), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it takes."""
        return (Modality.TEXT, Modality.IMAGE, Modality.VIDEO)

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        """Unit vectors ``[n, dim]``; all parts of an item are read together, a clip as its frames."""
        like = next(self.parameters())
        vectors = torch.zeros((len(items), self.dim), device=like.device)
        for batch in _batches(items):
            said = [self._said(items[n]) for n in batch]
            pictures = [picture for _, own in said for picture in own]
            given = self._processor(
                text=[text for text, _ in said],
                images=pictures or None,
                padding=True,
                padding_side="right",
                return_tensors="pt",
            )
            moved = {name: to_model(value, like) for name, value in given.items()}
            states_btd: Tensor = self.model(**moved).last_hidden_state
            last_b = moved["attention_mask"].sum(dim=1) - 1
            rows = torch.arange(len(states_btd), device=like.device)
            vectors[batch] = F.normalize(states_btd[rows, last_b].float(), dim=-1)
        return vectors

    def _said(self, item: PreparedItem) -> tuple[str, list[NDArray[np.uint8]]]:
        content: list[Message] = []
        pictures: list[NDArray[np.uint8]] = []
        for part in item.parts:
            if part.modality is Modality.TEXT:
                text = bytes(part.arrays["utf8"]).decode()
                content.append({"type": "text", "text": self._special.sub(" ", text)})
            else:
                own = _pictures(part)
                content += [{"type": "image"}] * len(own)
                pictures += own
        messages: list[Message] = [{"role": "user", "content": content}]
        if self.instruction:
            told = [{"type": "text", "text": self.instruction}]
            messages.insert(0, {"role": "system", "content": told})
        return self._render(messages), pictures


def to_model(value: Tensor, like: Tensor) -> Tensor:
    """Where the model is; what is not whole numbers in its precision."""
    return value.to(like.device, like.dtype if value.is_floating_point() else None)


def _pictures(part: PreparedPart) -> list[NDArray[np.uint8]]:
    pixels = np.asarray(part.arrays["pixels"])
    return list(pixels) if pixels.ndim == 4 else [pixels]


def _batches(items: Sequence[PreparedItem]) -> Iterator[list[int]]:
    """Those of about one cost together, so that little is padded."""
    order = sorted(range(len(items)), key=lambda n: items[n].cost)
    for start in range(0, len(order), AT_ONCE):
        yield order[start : start + AT_ONCE]
