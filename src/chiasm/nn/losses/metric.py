"""Losses with a margin: of pairs, of triplets, of rankings."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from chiasm.nn.losses.present import mean_or_zero, present

Mining = Literal["hard", "semi-hard"]
Hinges = Literal["sum", "max"]


def pair_margin(
    left_bd: Tensor, right_bd: Tensor, same_b: Tensor, margin: float = 1.0, mask_b: Tensor | None = None
) -> Tensor:
    """y d² + (1 - y) max(0, m - d)², mean over the pairs (Hadsell et al. 2006, eq. 4, times two).

    Args:
        left_bd, right_bd: row i of both is one pair; d is their Euclidean distance.
        same_b: y, True or 1 where the two belong together.
        mask_b: pairs where it is False are left out.
    """
    left_bd, right_bd, same_b = present(mask_b, left_bd, right_bd, same_b)
    d_b = (left_bd - right_bd).norm(dim=-1)
    y_b = same_b.to(d_b.dtype)
    return mean_or_zero(y_b * d_b.square() + (1 - y_b) * (margin - d_b).clamp(min=0).square())


def triplet(
    anchor_bd: Tensor,
    positive_bd: Tensor,
    negative_bd: Tensor,
    margin: float = 0.2,
    mask_b: Tensor | None = None,
    *,
    squared: bool = False,
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + m) of given triplets, mean over those where ``mask`` is True.

    ``squared`` takes the squares of the distances (Schroff et al. 2015, eq. 3).
    """
    anchor_bd, positive_bd, negative_bd = present(mask_b, anchor_bd, positive_bd, negative_bd)
    near_b, far_b = ((anchor_bd - other).norm(dim=-1) for other in (positive_bd, negative_bd))
    if squared:
        near_b, far_b = near_b.square(), far_b.square()
    return mean_or_zero((near_b - far_b + margin).clamp(min=0))


class Pairs(NamedTuple):
    """Who may be whose positive and negative, ``[b, n]`` each; what is missing is neither."""

    same_bn: Tensor
    different_bn: Tensor


def label_pairs(
    labels_b: Tensor,
    others_n: Tensor | None = None,
    mask_b: Tensor | None = None,
    mask_n: Tensor | None = None,
) -> Pairs:
    """Pairs by equal labels.

    Args:
        labels_b: of the anchors. others_n: of the other set (another modality); without it the anchors are
            compared among themselves, and nobody is its own positive.
        mask_b, mask_n: False for rows that are missing.
    """
    within = others_n is None
    others_n = labels_b if others_n is None else others_n
    mask_n = mask_b if within else mask_n
    same_bn = labels_b[:, None] == others_n[None]
    there_bn = torch.ones_like(same_bn)
    if within:
        there_bn = there_bn.fill_diagonal_(False)
    if mask_b is not None:
        there_bn = there_bn & mask_b[:, None]
    if mask_n is not None:
        there_bn = there_bn & mask_n[None]
    return Pairs(same_bn & there_bn, ~same_bn & there_bn)


def mined_triplet(
    anchors_bd: Tensor,
    others_nd: Tensor,
    pairs: Pairs,
    margin: float = 0.2,
    mining: Mining = "hard",
    *,
    squared: bool = False,
) -> Tensor:
    """:func:`triplet` of those triplets of a batch that teach most.

    Args:
        anchors_bd, others_nd: two sets of vectors, or one set twice.
        pairs: from :func:`label_pairs`.
        mining: ``hard``: for each anchor its furthest positive and its nearest negative (Hermans et al. 2017,
            eq. 5); mean over the anchors that have both. ``semi-hard``: for each anchor and positive the
            nearest negative that is further than the positive, but by less than the margin (Schroff et al.
            2015, sec. 3.2); mean over the pairs that have one.
        squared: as in :func:`triplet`; the margin is then one of squares.

    0 where the batch has no such triplet.
    """
    if mining not in get_args(Mining):
        raise ValueError(f"expected one of {get_args(Mining)}, got {mining!r}")
    there = pairs.same_bn.any(dim=1) | pairs.different_bn.any(dim=1)
    anchors_bd, same_bn, different_bn = anchors_bd[there], pairs.same_bn[there], pairs.different_bn[there]
    there = same_bn.any(dim=0) | different_bn.any(dim=0)
    others_nd, same_bn, different_bn = others_nd[there], same_bn[:, there], different_bn[:, there]
    if not anchors_bd.numel():
        return anchors_bd.sum() + others_nd.sum()
    # exact differences: the faster way by products loses digits between near neighbours, where mining looks
    d_bn = torch.cdist(anchors_bd, others_nd, compute_mode="donot_use_mm_for_euclid_dist")
    if squared:
        d_bn = d_bn.square()
    mine = _hard if mining == "hard" else _semi_hard
    near, far = mine(d_bn, same_bn, different_bn, margin)
    return mean_or_zero((near - far + margin).clamp(min=0))


def _hard(d_bn: Tensor, same_bn: Tensor, different_bn: Tensor, _margin: float) -> tuple[Tensor, Tensor]:
    both_b = same_bn.any(dim=1) & different_bn.any(dim=1)
    d_bn, same_bn, different_bn = d_bn[both_b], same_bn[both_b], different_bn[both_b]
    furthest = d_bn.masked_fill(~same_bn, -torch.inf).max(dim=1).values
    return furthest, d_bn.masked_fill(~different_bn, torch.inf).min(dim=1).values


def _semi_hard(d_bn: Tensor, same_bn: Tensor, different_bn: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    anchor_w, positive_w = same_bn.nonzero(as_tuple=True)
    near_w, d_wn = d_bn[anchor_w, positive_w], d_bn[anchor_w]  # w: anchors with each of their positives
    beyond_wn = (d_wn > near_w[:, None]) & (d_wn < near_w[:, None] + margin)
    candidate_wn = different_bn[anchor_w] & beyond_wn
    found_w = candidate_wn.any(dim=1)
    far = d_wn[found_w].masked_fill(~candidate_wn[found_w], torch.inf).min(dim=1).values
    return near_w[found_w], far


def max_margin(
    scores_bb: Tensor, margin: float = 0.2, hinges: Hinges = "max", mask_b: Tensor | None = None
) -> Tensor:
    """Ranking in both directions: a pair's own score should lead any other by the margin.

    Row i of ``scores`` are those of query i with all candidates, of which i is the right one. For each query
    ``sum`` adds max(0, m - s(i, i) + s(i, j)) over all j (Kiros et al. 2014, eq. 4), ``max`` takes the worst
    (Faghri et al. 2018, eq. 6); likewise for columns. The sum of both, mean over the pairs where ``mask`` is
    True; 0 for one pair alone.
    """
    if hinges not in get_args(Hinges):
        raise ValueError(f"expected one of {get_args(Hinges)}, got {hinges!r}")
    if mask_b is not None:
        scores_bb = scores_bb[mask_b][:, mask_b]
    if not len(scores_bb):
        return scores_bb.sum()
    own_b = scores_bb.diagonal()
    itself_bb = torch.eye(len(scores_bb), dtype=torch.bool, device=scores_bb.device)
    total = scores_bb.new_zeros(())
    for each_bb in (scores_bb, scores_bb.T):
        hinge_bb = (margin + each_bb - own_b[:, None]).clamp(min=0).masked_fill(itself_bb, 0.0)
        total = total + (hinge_bb if hinges == "sum" else hinge_bb.max(dim=1).values).sum()
    return total / len(scores_bb)
