"""Detection as the prediction of a set (Carion et al. 2020, sec. 3.1).

Boxes are centre and size (x, y, width, height) as shares of the picture, unless they are said to be corners
(left, top, right, bottom).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from chiasm.nn.losses.present import mean_or_zero

_LEAST_AREA = 1e-8  # what has no area overlaps with nothing, and no gradient is infinite


class Objects(NamedTuple):
    """What is in one picture: classes ``[n]``, boxes ``[n, 4]``, and attributes ``[n, m]`` of each object,
    -1 where it has fewer."""

    labels_n: Tensor
    boxes_n4: Tensor
    attributes_nm: Tensor | None = None


class Match(NamedTuple):
    """The k-th pair of one picture: query ``queries_n[k]`` and object ``objects_n[k]``."""

    queries_n: Tensor
    objects_n: Tensor


@dataclass(frozen=True, kw_only=True)
class SetWeights:
    """How much each loss weighs, in matching, too (Carion et al. 2020, appendix A.4).

    Attributes:
        classes, l1, giou: of the class, of the sum of absolute differences of boxes, of generalised IoU.
        attributes: of those of objects (Hu & Singh 2021, sec. 3.4).
        nothing: how much a query without an object counts in the loss of classes.
    """

    classes: float = 1.0
    l1: float = 5.0
    giou: float = 2.0
    attributes: float = 1.0
    nothing: float = 0.1


class SetLosses(NamedTuple):
    """Losses of one layer, without weights."""

    classes: Tensor
    l1: Tensor
    giou: Tensor

    def total(self, weights: SetWeights) -> Tensor:
        """Their weighted sum."""
        return weights.classes * self.classes + weights.l1 * self.l1 + weights.giou * self.giou


def to_corners(boxes: Tensor) -> Tensor:
    """Centre and size ``[..., 4]`` → corners ``[..., 4]``."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def to_centres(corners: Tensor) -> Tensor:
    """Corners ``[..., 4]`` → centre and size ``[..., 4]``."""
    low, high = corners[..., :2], corners[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Shared area over common area of corners ``[..., 4]`` that broadcast, ``[...]``, in [0, 1]."""
    shared, union = _overlap(a, b)
    return shared / union


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU minus the share of the smallest box around both that neither covers (Rezatofighi et al. 2019,
    algorithm 1): of corners ``[..., 4]`` that broadcast, ``[...]``, in [-1, 1]."""
    shared, union = _overlap(a, b)
    around = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    around = around.clamp(min=_LEAST_AREA)
    return shared / union - (around - union) / around


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.shape[-1] != 4 or b.shape[-1] != 4:
        raise ValueError(f"expected boxes of 4 numbers, got {a.shape[-1]} and {b.shape[-1]}")
    shared = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - shared
    return shared, union.clamp(min=_LEAST_AREA)


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(dim=-1)


@torch.no_grad()
def match(
    logits_bqc: Tensor, boxes_bq4: Tensor, targets: Sequence[Objects], weights: SetWeights
) -> list[Match]:
    """The one-to-one assignment of queries to objects of least total cost (Carion et al. 2020, eq. 1 and 2).

    Args:
        logits_bqc: of all classes, "no object" last. boxes_bq4: of all queries.
        targets: of each picture.

    Returns:
        As many pairs a picture as it has objects, or queries if those are fewer; by ascending query.

    Raises:
        ValueError: predictions that are not finite, or targets that do not fit them.
    """
    _check(logits_bqc, boxes_bq4, targets)
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  (an extra, needed only in training)

    device = boxes_bq4.device
    labels_bn = pad_sequence([own.labels_n.to(device) for own in targets], batch_first=True)
    boxes_bn4 = pad_sequence([own.boxes_n4.to(boxes_bq4) for own in targets], batch_first=True)
    alike_bqn = generalised_iou(to_corners(boxes_bq4)[:, :, None], to_corners(boxes_bn4)[:, None])
    asked_bqn = labels_bn[:, None].expand(alike_bqn.shape)
    cost_bqn = (
        weights.l1 * torch.cdist(boxes_bq4, boxes_bn4, p=1)
        - weights.classes * logits_bqc.softmax(dim=-1).gather(2, asked_bqn)
        - weights.giou * alike_bqn
    )
    matches = []
    for cost_qn, own in zip(cost_bqn.double().cpu().numpy(), targets, strict=True):
        pairs = linear_sum_assignment(cost_qn[:, : len(own.labels_n)])
        matches.append(Match(*(torch.from_numpy(each).to(device) for each in pairs)))
    return matches


def set_losses(
    logits_bqc: Tensor,
    boxes_bq4: Tensor,
    targets: Sequence[Objects],
    matches: Sequence[Match],
    *,
    nothing: float = 0.1,
    count: float | None = None,
) -> SetLosses:
    """What matched queries get wrong of their objects, and the others of there being none (Carion et al.
    2020, eq. 2 and appendix A.2).

    Args:
        logits_bqc, boxes_bq4, targets: as of :func:`match`. matches: what that gave.
        nothing: weight of queries without an object in the (weighted) mean over all.
        count: what sums over boxes are divided by: objects of the batch without it.
    """
    nobody = logits_bqc.shape[-1] - 1
    batch_n, query_n = _places(matches)
    labels_n = torch.cat(
        [own.labels_n.to(pair.objects_n.device)[pair.objects_n] for own, pair in _zip(targets, matches)]
    )
    expected_n4 = torch.cat(
        [own.boxes_n4.to(boxes_bq4)[pair.objects_n] for own, pair in _zip(targets, matches)]
    )
    labels_bq = logits_bqc.new_full(logits_bqc.shape[:2], nobody, dtype=torch.long)
    labels_bq[batch_n, query_n] = labels_n
    weight_c = logits_bqc.new_ones(nobody + 1)
    weight_c[nobody] = nothing
    found_n4 = boxes_bq4[batch_n, query_n]
    alike_n = generalised_iou(to_corners(found_n4), to_corners(expected_n4))
    if count is None:
        count = sum(len(own.labels_n) for own in targets)
    return SetLosses(
        classes=F.cross_entropy(logits_bqc.flatten(0, 1), labels_bq.flatten(), weight_c),
        l1=(found_n4 - expected_n4).abs().sum() / max(count, 1),
        giou=(1 - alike_n).sum() / max(count, 1),
    )


def matched(x_bqd: Tensor, matches: Sequence[Match]) -> Tensor:
    """Of the queries that have an object, ``[n, d]``, picture by picture."""
    return x_bqd[_places(matches)]


def attribute_loss(logits_na: Tensor, attributes_nm: Tensor) -> Tensor:
    """Half the cross-entropy of attributes, mean over those of an object, then over the objects that have
    any (Hu & Singh 2021, as in the paper's code).

    Args:
        logits_na: of all attributes, of each object. attributes_nm: those it has; -1 where it has fewer.
    """
    there_nm = attributes_nm >= 0
    each_nm = -logits_na.log_softmax(dim=-1).gather(1, attributes_nm.clamp(min=0)) * there_nm
    count_n = there_nm.sum(dim=1)
    mean_n = each_nm.sum(dim=1) / count_n.clamp(min=1)
    return mean_or_zero(mean_n[count_n > 0]) / 2


def _zip(targets: Sequence[Objects], matches: Sequence[Match]) -> list[tuple[Objects, Match]]:
    return list(zip(targets, matches, strict=True))


def _places(matches: Sequence[Match]) -> tuple[Tensor, Tensor]:
    """Picture and query of each pair."""
    batch = [torch.full_like(pair.queries_n, n) for n, pair in enumerate(matches)]
    return torch.cat(batch), torch.cat([pair.queries_n for pair in matches])


def _check(logits_bqc: Tensor, boxes_bq4: Tensor, targets: Sequence[Objects]) -> None:
    if len(targets) != len(logits_bqc):
        raise ValueError(f"expected the objects of {len(logits_bqc)} pictures, got of {len(targets)}")
    if not (logits_bqc.isfinite().all() and boxes_bq4.isfinite().all()):
        raise ValueError("expected finite logits and boxes, got others")
    classes = logits_bqc.shape[-1] - 1
    for own in targets:
        n = len(own.labels_n)
        if own.boxes_n4.shape != (n, 4):
            raise ValueError(f"expected boxes [{n}, 4], got {list(own.boxes_n4.shape)}")
        if not bool(((own.labels_n >= 0) & (own.labels_n < classes)).all()):
            raise ValueError(f"expected classes from 0 to {classes - 1}, got {own.labels_n.tolist()}")
        if not bool((own.boxes_n4[:, 2:] >= 0).all()):
            raise ValueError("expected boxes of centre and size, got negative sizes")
