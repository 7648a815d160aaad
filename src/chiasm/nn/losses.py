"""Contrastive losses over a matrix of similarities."""

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(left_bd: Tensor, right_bd: Tensor, scale: float | Tensor) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018, eq. 4; both directions as in Radford et al. 2021, fig. 3).

    Row i of ``left`` belongs to row i of ``right``; all other rows of the batch are negatives. ``scale`` is
    the inverse temperature. Rows are normalised here.
    """
    logits_bb = scale * F.normalize(left_bd, dim=-1) @ F.normalize(right_bd, dim=-1).T
    target_b = torch.arange(len(left_bd), device=left_bd.device)
    return (F.cross_entropy(logits_bb, target_b) + F.cross_entropy(logits_bb.T, target_b)) / 2


def sigmoid_loss(left_bd: Tensor, right_bd: Tensor, scale: float | Tensor, bias: float | Tensor) -> Tensor:
    """Pairwise sigmoid loss (Zhai et al. 2023, eq. 1): every pair is its own yes-or-no question.

    Summed over the pairs, divided by the batch.
    """
    logits_bb = scale * F.normalize(left_bd, dim=-1) @ F.normalize(right_bd, dim=-1).T + bias
    sign_bb = 2 * torch.eye(len(left_bd), device=left_bd.device, dtype=logits_bb.dtype) - 1
    return -F.logsigmoid(sign_bb * logits_bb).sum() / len(left_bd)


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
