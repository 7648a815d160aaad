"""Keys and values of the tokens so far, so that each is computed once (Pope et al. 2023, sec. 2)."""

import torch
from torch import Tensor


class KeyValueCache:
    """Of one layer: room for ``positions`` tokens, filled from the left."""

    def __init__(self, positions: int) -> None:
        self.positions = positions
        self.length = 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def append(self, keys_bhsd: Tensor, values_bhsd: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of new tokens; all so far, ``[b, h, length, d]`` each.

        Raises:
            ValueError: more tokens than there is room for.
        """
        end = self.length + keys_bhsd.shape[2]
        if end > self.positions:
            raise ValueError(f"expected at most {self.positions} tokens, got {end}")
        if self._keys is None or self._values is None:
            b, h, _, d = keys_bhsd.shape
            self._keys = keys_bhsd.new_empty((b, h, self.positions, d))
            self._values = values_bhsd.new_empty((b, h, self.positions, d))
        self._keys[:, :, self.length : end] = keys_bhsd
        self._values[:, :, self.length : end] = values_bhsd
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]


def causal_mask(queries: int, keys: int, device: torch.device) -> Tensor:
    """``[queries, keys]``, True where the last ``queries`` of ``keys`` tokens may look: not ahead."""
    return torch.ones((queries, keys), dtype=torch.bool, device=device).tril(keys - queries)
