"""Detection as the prediction of a set: boxes by hand, matching by trying all, losses by their formulas."""

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor

from chiasm.nn.losses.detection import (
    Match,
    Objects,
    SetLosses,
    SetWeights,
    attribute_loss,
    generalised_iou,
    iou,
    match,
    matched,
    set_losses,
    to_centres,
    to_corners,
)

WEIGHTS = SetWeights()


def box(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def test_corners_and_centres() -> None:
    corners = box(0.1, 0.2, 0.5, 0.4)
    centres = to_centres(corners)
    torch.testing.assert_close(centres, box(0.3, 0.3, 0.4, 0.2))
    torch.testing.assert_close(to_corners(centres), corners)
    many = torch.rand(2, 3, 4)
    torch.testing.assert_close(to_centres(to_corners(many)), many)


@pytest.mark.parametrize(
    ("other", "overlap", "generalised"),
    [
        ((0, 0, 2, 2), 1.0, 1.0),
        ((1, 1, 3, 3), 1 / 7, 1 / 7 - 2 / 9),  # 1 of 7, within 9
        ((2, 0, 4, 2), 0.0, 0.0),  # side by side: together they fill the box around
        ((3, 0, 4, 2), 0.0, -2 / 8),
        ((3, 3, 4, 4), 0.0, 5 / 16 - 1),
        ((0.5, 0.5, 1.5, 1.5), 1 / 4, 1 / 4),  # within
    ],
)
def test_overlap_by_hand(other: tuple[float, ...], overlap: float, generalised: float) -> None:
    a, b = box(0, 0, 2, 2), box(*other)
    for one, two in ((a, b), (b, a)):
        assert float(iou(one, two)) == pytest.approx(overlap, abs=1e-12)
        assert float(generalised_iou(one, two)) == pytest.approx(generalised, abs=1e-12)


def test_overlap_of_all_pairs_and_of_nothing() -> None:
    a, b = to_corners(torch.rand(5, 4)), to_corners(torch.rand(3, 4))
    every = generalised_iou(a[:, None], b[None])
    assert every.shape == (5, 3)
    torch.testing.assert_close(every[2, 1], generalised_iou(a[2], b[1]))
    assert float(every.min()) >= -1
    point = box(0.5, 0.5, 0.5, 0.5).requires_grad_()
    value = generalised_iou(point, point) + iou(point, box(0, 0, 1, 1))
    value.backward()
    assert value.item() == 0
    assert bool(point.grad.isfinite().all())
    with pytest.raises(ValueError, match="expected boxes of 4 numbers, got 3 and 4"):
        iou(torch.rand(2, 3), torch.rand(2, 4))


def predictions(b: int, q: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, q, classes + 1, generator=g, dtype=torch.float64)
    return logits, torch.rand(b, q, 4, generator=g, dtype=torch.float64)


def some_objects(n: int, classes: int, seed: int) -> Objects:
    g = torch.Generator().manual_seed(seed)
    return Objects(
        torch.randint(classes, (n,), generator=g), torch.rand(n, 4, generator=g, dtype=torch.float64)
    )


def cost(logits_qc: Tensor, boxes_q4: Tensor, own: Objects, query: int, index: int) -> float:
    """Of one pair, by the formulas."""
    found, expected = boxes_q4[query], own.boxes_n4[index]
    probability = logits_qc[query].softmax(-1)[own.labels_n[index]]
    alike = generalised_iou(to_corners(found), to_corners(expected))
    return float(5 * (found - expected).abs().sum() - probability - 2 * alike)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("counts", [(3, 0, 1), (5, 4, 2), (7, 6, 5)])
def test_no_assignment_is_better(seed: int, counts: tuple[int, ...]) -> None:
    """All of them are tried, with fewer and with more objects than queries."""
    q, classes = 5, 4
    logits, boxes = predictions(len(counts), q, classes, seed)
    targets = [some_objects(n, classes, 10 * seed + i) for i, n in enumerate(counts)]
    for logits_qc, boxes_q4, own, pairs in zip(
        logits, boxes, targets, match(logits, boxes, targets, WEIGHTS), strict=True
    ):
        n = len(own.labels_n)
        queries, found = pairs.queries_n.tolist(), pairs.objects_n.tolist()
        assert len(queries) == len(found) == min(q, n)
        assert queries == sorted(set(queries))
        assert len(set(found)) == len(found)
        each = [[cost(logits_qc, boxes_q4, own, a, b) for b in range(n)] for a in range(q)]
        if n <= q:
            best = min(sum(each[a][b] for b, a in enumerate(p)) for p in permutations(range(q), n))
        else:
            best = min(sum(each[a][b] for a, b in enumerate(p)) for p in permutations(range(n), q))
        assert sum(each[a][b] for a, b in zip(queries, found, strict=True)) == pytest.approx(best, abs=1e-6)


def test_losses_are_those_of_the_formulas() -> None:
    logits, boxes = predictions(2, 4, 3)
    targets = [some_objects(2, 3, 1), some_objects(1, 3, 2)]
    matches = [Match(torch.tensor([0, 3]), torch.tensor([1, 0])), Match(torch.tensor([2]), torch.tensor([0]))]
    losses = set_losses(logits, boxes, targets, matches, nothing=0.1)
    expected = {(0, 0): (0, 1), (0, 3): (0, 0), (1, 2): (1, 0)}
    classes = weight = l1 = giou = 0.0
    for b in range(2):
        for q in range(4):
            log = logits[b, q].log_softmax(-1)
            if (b, q) not in expected:
                classes, weight = classes - 0.1 * float(log[3]), weight + 0.1
                continue
            picture, index = expected[b, q]
            own = targets[picture]
            classes, weight = classes - float(log[own.labels_n[index]]), weight + 1
            l1 += float((boxes[b, q] - own.boxes_n4[index]).abs().sum())
            giou += 1 - float(generalised_iou(to_corners(boxes[b, q]), to_corners(own.boxes_n4[index])))
    assert float(losses.classes) == pytest.approx(classes / weight)
    assert float(losses.l1) == pytest.approx(l1 / 3)
    assert float(losses.giou) == pytest.approx(giou / 3)
    assert float(losses.total(WEIGHTS)) == pytest.approx(classes / weight + 5 * l1 / 3 + 2 * giou / 3)
    others = set_losses(logits, boxes, targets, matches, count=6)
    torch.testing.assert_close(others.l1, losses.l1 / 2)
    states = torch.arange(8.0).view(2, 4, 1)
    assert matched(states, matches).flatten().tolist() == [0, 3, 6]


def test_pictures_without_objects() -> None:
    logits, boxes = predictions(2, 4, 3)
    logits.requires_grad_()
    boxes.requires_grad_()
    nothing = Objects(torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))
    matches = match(logits, boxes, [nothing, nothing], WEIGHTS)
    losses = set_losses(logits, boxes, [nothing, nothing], matches)
    assert losses.l1.item() == losses.giou.item() == 0
    expected = -logits.log_softmax(-1)[..., 3].mean()
    torch.testing.assert_close(losses.classes, expected)
    losses.total(WEIGHTS).backward()
    assert bool(logits.grad.isfinite().all())
    assert not bool(boxes.grad.any())


def test_a_step_down_the_loss_brings_boxes_nearer() -> None:
    logits, boxes = predictions(1, 3, 2)
    target = [some_objects(2, 2, 3)]
    raw = boxes.logit().clone().requires_grad_()
    totals = []
    for _ in range(200):
        matches = match(logits, raw.sigmoid(), target, WEIGHTS)
        losses: SetLosses = set_losses(logits, raw.sigmoid(), target, matches)
        totals.append((losses.l1 + losses.giou).item())
        (gradient,) = torch.autograd.grad(losses.total(WEIGHTS), raw)
        raw = (raw - 0.05 * gradient).detach().requires_grad_()
    assert totals[-1] < 0.2 * totals[0]


def test_attributes() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [5.0, 1.0]], requires_grad=True)
    attributes = torch.tensor([[0, -1], [0, 1], [-1, -1]])
    two = (math.log(4 / 3) + math.log(4)) / 2
    loss = attribute_loss(logits, attributes)
    assert loss.item() == pytest.approx((math.log(2) + two) / 2 / 2)
    assert attribute_loss(logits[2:], attributes[2:]).item() == 0
    loss.backward()
    assert bool(logits.grad.isfinite().all())


def test_targets_that_do_not_fit_are_refused() -> None:
    logits, boxes = predictions(1, 3, 2)
    one, labels = some_objects(1, 2, 0), torch.zeros(1, dtype=torch.long)
    for targets, message in (
        ([one, one], "expected the objects of 1 pictures, got of 2"),
        ([Objects(labels, torch.rand(2, 4))], r"expected boxes \[1, 4\], got \[2, 4\]"),
        ([Objects(labels + 2, torch.rand(1, 4))], r"expected classes from 0 to 1, got \[2\]"),
        ([Objects(labels - 1, torch.rand(1, 4))], r"expected classes from 0 to 1, got \[-1\]"),
        ([Objects(labels, -torch.rand(1, 4))], "got negative sizes"),
    ):
        with pytest.raises(ValueError, match=message):
            match(logits, boxes, targets, WEIGHTS)
    with pytest.raises(ValueError, match="expected finite logits and boxes"):
        match(logits * torch.nan, boxes, [one], WEIGHTS)
