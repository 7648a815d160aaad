"""Rows that are there: losses leave out the others as if the batch had never held them."""

from torch import Tensor


def present(mask_b: Tensor | None, *rows: Tensor) -> tuple[Tensor, ...]:
    """The rows where ``mask`` is True, of each; all of them without a mask."""
    return rows if mask_b is None else tuple(each[mask_b] for each in rows)


def mean_or_zero(each: Tensor) -> Tensor:
    """Mean of any number of losses; of none 0, with gradients that are 0 rather than undefined."""
    return each.sum() / max(each.numel(), 1)
