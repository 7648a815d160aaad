"""Alignment of words and patches by optimal transport, solved by inexact proximal points.

(IPOT, Xie et al. 2018, algorithm 1; as an objective Chen et al. 2020, UNITER, sec. 3.2, and Kim et al. 2021,
ViLT, sec. 3.2.)
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from chiasm.nn.losses.present import mean_or_zero


@torch.no_grad()
def transport_plan(
    cost_btp: Tensor,
    mask_bt: Tensor,
    mask_bp: Tensor,
    *,
    beta: float = 0.5,
    steps: int = 50,
    inner: int = 1,
) -> Tensor:
    """How much of each word goes to each patch, ``[b, t, p]``: all words of a text weigh the same, so do all
    patches of a picture, and together they weigh 1. No gradient flows through it.

    Args:
        cost_btp: of moving a word to a patch. mask_bt, mask_bp: True where they are real; nothing goes to or
            from elsewhere, and a pair of which one side has nothing has a plan of zeros.
        beta: step of the proximal point. steps: outer, inner: iterations of either kind.
    """
    both_btp = mask_bt[:, :, None] & mask_bp[:, None, :]
    cost_btp = cost_btp if cost_btp.dtype == torch.float64 else cost_btp.float()
    kernel_btp = torch.exp(-cost_btp / beta).masked_fill(~both_btp, 0.0)
    word_bt, patch_bp = (m.to(cost_btp.dtype) for m in (mask_bt, mask_bp))
    word_bt, patch_bp = (m / m.sum(dim=1, keepdim=True).clamp(min=1) for m in (word_bt, patch_bp))
    least = torch.finfo(cost_btp.dtype).tiny
    plan_btp, left_bt = both_btp.to(cost_btp.dtype), word_bt
    for _ in range(steps):
        kernel_plan_btp = kernel_btp * plan_btp
        for _ in range(inner):
            # what is masked weighs 0, and 0 / least = 0
            right_bp = patch_bp / torch.einsum("btp,bt->bp", kernel_plan_btp, left_bt).clamp(min=least)
            left_bt = word_bt / torch.einsum("btp,bp->bt", kernel_plan_btp, right_bp).clamp(min=least)
        plan_btp = left_bt[:, :, None] * kernel_plan_btp * right_bp[:, None, :]
    return plan_btp


def transport_distance(
    words_btd: Tensor,
    patches_bpd: Tensor,
    mask_bt: Tensor,
    mask_bp: Tensor,
    *,
    beta: float = 0.5,
    steps: int = 50,
) -> Tensor:
    """What it costs to turn the words of each text into the patches of its picture, ``[b]``, in [0, 2].

    The cost of a word and a patch is 1 - cos. Gradients flow through the costs, not the plan.
    """
    # the larger epsilon of the published objective: gradients of states that are nearly 0 stay bounded
    words, patches = (F.normalize(x, dim=-1, eps=1e-5) for x in (words_btd, patches_bpd))
    cost_btp = 1 - words @ patches.transpose(1, 2)
    plan_btp = transport_plan(cost_btp.detach(), mask_bt, mask_bp, beta=beta, steps=steps)
    real_btp = mask_bt[:, :, None] & mask_bp[:, None, :]
    return (plan_btp * cost_btp.masked_fill(~real_btp, 0.0)).sum(dim=(1, 2))


def alignment_loss(
    words_btd: Tensor,
    patches_bpd: Tensor,
    mask_bt: Tensor,
    mask_bp: Tensor,
    matched_b: Tensor,
    *,
    beta: float = 0.5,
    steps: int = 50,
) -> Tensor:
    """Distance of pairs that belong together minus that of pairs that do not, mean over all pairs of which
    both sides have something.

    Args:
        mask_bt: True at words proper: the published objective leaves out the text's first and last token.
        mask_bp: True at real patches.
        matched_b: True or 1 where text and picture belong together.
    """
    there_b = mask_bt.any(dim=1) & mask_bp.any(dim=1)
    distance_b = transport_distance(words_btd, patches_bpd, mask_bt, mask_bp, beta=beta, steps=steps)
    signed_b = torch.where(matched_b.bool(), distance_b, -distance_b)
    return mean_or_zero(signed_b[there_b])
