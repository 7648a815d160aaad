"""Pictures and the texts about them → batches of like size, and what is said of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from chiasm.errors import InvalidInput
from chiasm.models.batching import TOKENS_AT_ONCE, pad_ids
from chiasm.preprocess.places import Box
from chiasm.preprocess.prepared import PreparedPart

Pictures = Sequence[PreparedPart]
Size = tuple[int, int]
"""Height and width."""


class Answer(NamedTuple):
    """``probability`` is in [0, 1]; where several can be right, those of a question do not sum to 1."""

    text: str
    probability: float


class Detection(NamedTuple):
    """An object, its probability in [0, 1], and where it is: left, top, right, bottom in [0, 1], as shares of
    the picture that was prepared."""

    label: str
    probability: float
    box: Box


class PairBatch(NamedTuple):
    """Pictures and texts that are computed at once.

    Attributes:
        ids_bt, mask_bt: of the texts, and where they are real; None: everywhere.
        pictures: the first of each text, the second of each text, …: uint8 ``[b, h, w, 3]``, each in the
            upper left corner, and their heights and widths.
    """

    ids_bt: Tensor
    mask_bt: Tensor | None
    pictures: list[tuple[Tensor, list[Size]]]


def over_pairs(
    pictures: Sequence[Pictures],
    texts: Sequence[PreparedPart],
    compute: Callable[[PairBatch], Tensor],
    shape: tuple[int, ...],
    *,
    cell: int,
    padded: bool,
    device: torch.device,
) -> Tensor:
    """What is computed of each text and its pictures, in batches of like size, so that little is padded:
    float32 ``[n, *shape]``, in their order.

    Args:
        pictures: the first of each text, the second of each text, …
        compute: a batch → ``[b, *shape]``.
        cell: pixels of the side of what one position of the model stands for.
        padded: pictures of a batch may be of different sizes.

    Raises:
        InvalidInput: not as many pictures as texts.
    """
    for own in pictures:
        if len(own) != len(texts):
            raise mismatch("pictures", "图片", len(texts), len(own))
    found = torch.zeros((len(texts), *shape), device=device)
    for rows in _batches(pictures, texts, cell, padded=padded):
        ids_bt, real_bt = pad_ids([texts[n] for n in rows], device)
        # attention without a mask is faster
        mask_bt = None if len({len(texts[n].arrays["token_ids"]) for n in rows}) == 1 else real_bt
        shown = [pad_pixels([own[n] for n in rows], device) for own in pictures]
        found[rows] = compute(PairBatch(ids_bt, mask_bt, shown)).float()
    return found


def pad_pixels(parts: Pictures, device: torch.device) -> tuple[Tensor, list[Size]]:
    """uint8 ``[b, h, w, 3]`` of pictures of several sizes, each in the upper left corner, and their sizes."""
    pictures = [np.asarray(part.arrays["pixels"]) for part in parts]
    sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
    height, width = (max(side) for side in zip(*sizes, strict=True))
    pixels = np.zeros((len(pictures), height, width, 3), np.uint8)
    for n, (picture, (h, w)) in enumerate(zip(pictures, sizes, strict=True)):
        pixels[n, :h, :w] = picture
    return torch.from_numpy(pixels).to(device), sizes


def likeliest(probabilities_nc: Tensor, names: Sequence[str], most: int) -> list[list[Answer]]:
    """At most so many answers of each row, best first."""
    best = probabilities_nc.topk(max(0, min(most, len(names))), dim=-1)
    return [
        [Answer(names[number], value) for value, number in zip(*row, strict=True)]
        for row in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def mismatch(what: str, what_zh: str, wanted: int, got: int) -> InvalidInput:
    """The error for another number of things than was expected."""
    return InvalidInput(f"expected {wanted} {what}, got {got}", f"{what_zh}应为 {wanted} 个，实际为 {got} 个")


def _batches(
    pictures: Sequence[Pictures], texts: Sequence[PreparedPart], cell: int, *, padded: bool
) -> Iterator[list[int]]:
    """Pairs by the size of their pictures; each batch within what one pass should hold."""
    shapes = [[own[n].arrays["pixels"].shape[:2] for own in pictures] for n in range(len(texts))]
    cells = [max(height * width for height, width in own) // cell**2 for own in shapes]
    words = [len(part.arrays["token_ids"]) for part in texts]
    batch: list[int] = []
    longest = 0
    for n in sorted(range(len(texts)), key=lambda n: (cells[n], shapes[n], words[n])):
        longest = max(longest, words[n])
        full = (cells[n] + 1 + longest) * (len(batch) + 1) > TOKENS_AT_ONCE
        if batch and (full or not (padded or shapes[n] == shapes[batch[0]])):
            yield batch
            batch, longest = [], words[n]
        batch.append(n)
    if batch:
        yield batch
