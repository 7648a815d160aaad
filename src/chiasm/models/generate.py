"""Token after token from a decoder."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from chiasm.nn.cache import KeyValueCache


class Decoder(Protocol):
    """Whatever gives logits of the next token: :class:`~chiasm.models.llama.model.Llama` and others."""

    def new_cache(self, positions: int | None = None) -> list[KeyValueCache]:
        """An empty cache for every layer."""

    def __call__(
        self, ids_bt: Tensor, mask_bs: Tensor | None = None, cache: Sequence[KeyValueCache] | None = None
    ) -> Tensor:
        """Logits ``[b, t, vocabulary]``."""


@torch.inference_mode()
def greedy(model: Decoder, ids_bt: Tensor, count: int, *, ends: Sequence[int] = ()) -> Iterator[Tensor]:
    """The likeliest token ``[b]`` each time, at most ``count`` times.

    Args:
        ids_bt: the prompts, of one length.
        ends: tokens that end a sequence; a sequence that has ended repeats the first of them.
    """
    cache = model.new_cache(ids_bt.shape[1] + count)
    done_b = torch.zeros(len(ids_bt), dtype=torch.bool, device=ids_bt.device)
    stops = torch.tensor(list(ends), dtype=torch.long, device=ids_bt.device)
    given_bt = ids_bt
    for _ in range(count):
        next_b = model(given_bt, None, cache)[:, -1].argmax(dim=-1)
        if len(stops):
            next_b = torch.where(done_b, stops[0], next_b)
            done_b |= torch.isin(next_b, stops)
        yield next_b
        if len(stops) and bool(done_b.all()):
            return
        given_bt = next_b[:, None]
