"""One vector a sequence: its first state, or the mean, which is attention with equal weights, so that it can
be read out as other attention is."""

import torch
from torch import Tensor, nn

from chiasm.nn.recorder import active_recorder


def mean_pool(x_btd: Tensor, mask_bt: Tensor) -> Tensor:
    """Mean of the states that are real, ``[b, d]``; 0 of a row without any."""
    weights = mask_bt.unsqueeze(-1).to(x_btd.dtype)
    return (x_btd * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


class FirstPool(nn.Module):
    """The first state; 0 of a row where none is real. No parameters."""

    def forward(self, x_btd: Tensor, mask_bt: Tensor) -> Tensor:
        """``[b, t, d]`` → ``[b, d]``; ``mask`` is True at real positions."""
        return x_btd[:, 0].masked_fill(~mask_bt.any(dim=1, keepdim=True), 0.0)


class MeanPool(nn.Module):
    """:func:`mean_pool` that shows what it looks at; no parameters.

    While somebody looks, the equal weights 1/n are recorded as attention of one head and one query. Their
    gradient is then what each position adds to a score, so that their relevance is that of Grad-CAM
    (Selvaraju et al. 2017, eq. 1 and 2) position by position.
    """

    def forward(self, x_btd: Tensor, mask_bt: Tensor | None = None) -> Tensor:
        """``[b, t, d]`` → ``[b, d]``; ``mask`` is True at real positions, all are without it."""
        recorder = active_recorder()
        if recorder is None:
            return x_btd.mean(dim=1) if mask_bt is None else mean_pool(x_btd, mask_bt)
        real_bt = torch.ones_like(x_btd[..., 0]) if mask_bt is None else mask_bt.to(x_btd.dtype)
        alpha_bhqt = (real_bt / real_bt.sum(dim=1, keepdim=True).clamp(min=1e-9))[:, None, None]
        recorder.add(self, alpha_bhqt)
        return (alpha_bhqt[:, 0] @ x_btd)[:, 0]
