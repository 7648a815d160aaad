"""Contrastive losses over a matrix of similarities."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.nn.losses.present import present

_LARGEST = math.log(100.0)


def info_nce(
    left_bd: Tensor,
    right_bd: Tensor,
    scale: float | Tensor,
    mask_b: Tensor | None = None,
    same_bb: Tensor | None = None,
) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018, eq. 4; both directions as in Radford et al. 2021, fig. 3).

    Row i of ``left`` belongs to row i of ``right``; all other rows of the batch are negatives. ``scale`` is
    the inverse temperature. Rows are normalised here. Pairs where ``mask`` is False are left out. Rows that
    mean the same (``same`` is True, bool) are no negatives of each other.
    """
    left_bd, right_bd = present(mask_b, left_bd, right_bd)
    logits_bb = scale * F.normalize(left_bd, dim=-1) @ F.normalize(right_bd, dim=-1).T
    if not len(logits_bb):
        return logits_bb.sum()
    if same_bb is not None:
        logits_bb = logits_bb.masked_fill(_twins(same_bb, mask_b), float("-inf"))
    target_b = torch.arange(len(left_bd), device=left_bd.device)
    return (F.cross_entropy(logits_bb, target_b) + F.cross_entropy(logits_bb.T, target_b)) / 2


def sigmoid_loss(
    left_bd: Tensor,
    right_bd: Tensor,
    scale: float | Tensor,
    bias: float | Tensor,
    mask_b: Tensor | None = None,
    *,
    same_bb: Tensor | None = None,
) -> Tensor:
    """Pairwise sigmoid loss (Zhai et al. 2023, eq. 1): every pair is its own yes-or-no question.

    Summed over the pairs, divided by the batch. Rows where ``mask`` is False are left out. What two rows
    that mean the same (``same`` is True, bool) have to do with each other is not asked.
    """
    left_bd, right_bd = present(mask_b, left_bd, right_bd)
    logits_bb = scale * F.normalize(left_bd, dim=-1) @ F.normalize(right_bd, dim=-1).T + bias
    sign_bb = 2 * torch.eye(len(left_bd), device=left_bd.device, dtype=logits_bb.dtype) - 1
    each_bb = F.logsigmoid(sign_bb * logits_bb)
    if same_bb is not None:
        each_bb = each_bb.masked_fill(_twins(same_bb, mask_b), 0.0)
    return -each_bb.sum() / max(len(left_bd), 1)


def _twins(same_bb: Tensor, mask_b: Tensor | None) -> Tensor:
    """Where ``same`` holds of two different rows, of those that are there."""
    if mask_b is not None:
        same_bb = same_bb[mask_b][:, mask_b]
    return same_bb & ~torch.eye(len(same_bb), dtype=torch.bool, device=same_bb.device)


class LearntInfoNce(nn.Module):
    """:func:`info_nce` with a learnt temperature that begins at 0.07; its inverse stays at most 100 (Radford
    et al. 2021, sec. 2.5)."""

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, left_bd: Tensor, right_bd: Tensor, mask_b: Tensor | None = None) -> Tensor:
        """The loss of ``[b, d]`` and ``[b, d]``, of any length."""
        return info_nce(left_bd, right_bd, bounded_scale(self.log_scale), mask_b)


class LearntSigmoid(nn.Module):
    """:func:`sigmoid_loss` with a learnt scale and bias, which begin where nearly all pairs are held to be
    none (Zhai et al. 2023, sec. 3.2)."""

    def __init__(self, scale: float = 10.0, bias: float = -10.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, left_bd: Tensor, right_bd: Tensor, mask_b: Tensor | None = None) -> Tensor:
        """The loss of ``[b, d]`` and ``[b, d]``, of any length."""
        return sigmoid_loss(left_bd, right_bd, bounded_scale(self.log_scale), self.bias, mask_b)


def bounded_scale(log_scale: nn.Parameter) -> Tensor:
    """exp of a learnt logarithm, which is set back to ln 100 where a step went beyond."""
    with torch.no_grad():  # a clamp inside the graph would have no gradient, and never come back
        log_scale.clamp_(max=_LARGEST)
    return log_scale.exp()


def anchored_cross_entropy(
    vectors_bd: Tensor, anchors_nd: Tensor, target_b: Tensor, scale: float, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of a vector against all anchors at once.

    With the anchors fixed (text vectors of all names), this learns where InfoNCE from scratch stays at ln b.
    ``vectors`` are normalised here; ``anchors`` are unit rows.
    """
    logits_bn = scale * F.normalize(vectors_bd, dim=-1) @ anchors_nd.T
    return F.cross_entropy(logits_bn, target_b, label_smoothing=smoothing)


def soft_cross_entropy(logits_bn: Tensor, probabilities_bn: Tensor) -> Tensor:
    """Cross-entropy against a teacher's probabilities (Hinton et al. 2015, sec. 2), mean over the batch."""
    return -(probabilities_bn * logits_bn.log_softmax(dim=-1)).sum(dim=-1).mean()


def each_positive(logits_bn: Tensor, positive_bn: Tensor) -> Tensor:
    """Cross-entropy of each positive against all that are none, mean over the positives, then the batch."""
    against = torch.logsumexp(logits_bn.masked_fill(positive_bn, -1e4), dim=-1, keepdim=True)
    each = torch.logaddexp(logits_bn, against) - logits_bn
    return ((each * positive_bn).sum(dim=-1) / positive_bn.sum(dim=-1).clamp(min=1)).mean()
