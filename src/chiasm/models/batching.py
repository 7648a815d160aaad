"""Parts of any kind → batches that a tower takes at once → one unit vector an item."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.modality import Modality
from chiasm.preprocess.prepared import PreparedItem, PreparedPart

Encoders = Mapping[Modality, Callable[[Sequence[PreparedPart]], Tensor]]
TOKENS_AT_ONCE = 4096
PICTURES_AT_ONCE = 32


def embed_parts(model: nn.Module, items: Sequence[PreparedItem], encoders: Encoders, dim: int) -> Tensor:
    """Unit vectors ``[n, dim]``: the mean of the unit vectors of an item's parts.

    Args:
        model: whose weights say where.
        encoders: parts of one modality → their vectors ``[b, dim]``.
    """
    device = next(model.parameters()).device
    parts = [part for item in items for part in item.parts]
    vectors = torch.zeros((len(parts), dim), device=device)  # in full whatever the towers compute in
    for modality, batch in _batches(parts):
        encoded = encoders[modality]([parts[i] for i in batch])
        vectors[batch] = F.normalize(encoded.float(), dim=-1)
    counts = [len(item.parts) for item in items]
    if max(counts, default=1) == 1:
        return vectors
    return F.normalize(torch.stack([own.mean(dim=0) for own in torch.split(vectors, counts)]), dim=-1)


def pad_ids(parts: Sequence[PreparedPart], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids ``[b, t]`` of texts and where they are real."""
    rows = [part.arrays["token_ids"] for part in parts]
    ids = np.zeros((len(rows), max(len(row) for row in rows)), np.int64)
    mask = np.zeros(ids.shape, bool)
    for n, row in enumerate(rows):
        ids[n, : len(row)], mask[n, : len(row)] = row, True
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def stack_pixels(parts: Sequence[PreparedPart]) -> Tensor:
    """uint8 ``[b, h, w, 3]`` of pictures."""
    return torch.from_numpy(np.stack([part.arrays["pixels"] for part in parts]))


def mean_of_frames(parts: Sequence[PreparedPart], encode: Callable[[Tensor], Tensor]) -> Tensor:
    """Vectors ``[b, d]`` of clips: the mean of the unit vectors of their frames.

    Args:
        encode: uint8 frames ``[f, h, w, 3]`` → vectors ``[f, d]``.
    """
    frames = [np.asarray(part.arrays["pixels"]) for part in parts]
    vectors = F.normalize(encode(torch.from_numpy(np.concatenate(frames))), dim=-1)
    return torch.stack([own.mean(dim=0) for own in torch.split(vectors, [len(f) for f in frames])])


def _batches(parts: Sequence[PreparedPart]) -> Iterator[tuple[Modality, list[int]]]:
    """Texts by length, so that little is padded; each batch within what one pass should hold."""
    groups: dict[Modality, list[int]] = defaultdict(list)
    for index, part in enumerate(parts):
        groups[part.modality].append(index)
    for modality, members in groups.items():
        members.sort(key=lambda i: _size(parts[i]))
        limit = TOKENS_AT_ONCE if modality is Modality.TEXT else PICTURES_AT_ONCE
        batch: list[int] = []
        for index in members:  # ascending: the last is the longest
            if batch and _size(parts[index]) * (len(batch) + 1) > limit:
                yield modality, batch
                batch = []
            batch.append(index)
        yield modality, batch


def _size(part: PreparedPart) -> int:
    if part.modality is Modality.TEXT:
        return len(part.arrays["token_ids"])
    return len(part.arrays["pixels"]) if part.modality is Modality.VIDEO else 1
