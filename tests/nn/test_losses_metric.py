"""Losses with a margin, and the learnt temperatures, against loops in float64 and against references."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from chiasm.nn.losses import (
    LearntInfoNce,
    LearntSigmoid,
    Pairs,
    info_nce,
    label_pairs,
    max_margin,
    mined_triplet,
    pair_margin,
    sigmoid_loss,
    triplet,
)

gradcheck = partial(torch.autograd.gradcheck, fast_mode=True)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(a: Tensor, b: Tensor) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True)))


def test_pair_margin_draws_pairs_together_and_pushes_others_to_the_margin() -> None:
    left, right, same = normal(5, 3), normal(5, 3, seed=1), torch.tensor([1, 0, 0, 1, 0])
    expected = 0.0
    for i, y in enumerate(same.tolist()):
        d = distance(left[i], right[i])
        expected += d**2 if y else max(0.0, 2.5 - d) ** 2
    assert pair_margin(left, right, same, 2.5).item() == pytest.approx(expected / 5, abs=1e-12)
    assert pair_margin(left, right, same.bool(), 2.5).item() == pytest.approx(expected / 5, abs=1e-12)


def test_triplet_is_torch_s() -> None:
    anchor, positive, negative = (normal(6, 4, seed=n) for n in range(3))
    theirs = nn.TripletMarginLoss(margin=0.7, eps=0)(anchor, positive, negative)
    assert triplet(anchor, positive, negative, 0.7).item() == pytest.approx(theirs.item(), abs=1e-12)
    theirs = nn.TripletMarginWithDistanceLoss(
        distance_function=lambda a, b: (a - b).square().sum(dim=-1), margin=0.7
    )(anchor, positive, negative)
    ours = triplet(anchor, positive, negative, 0.7, squared=True)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)


def mined_by_hand(
    anchors: Tensor, others: Tensor, pairs: Pairs, margin: float, mining: str, *, power: int
) -> float:
    found = []
    for i in range(len(anchors)):
        d = [distance(anchors[i], other) ** power for other in others]
        positives = [j for j in range(len(others)) if pairs.same_bn[i, j]]
        negatives = [j for j in range(len(others)) if pairs.different_bn[i, j]]
        if mining == "hard":
            if positives and negatives:
                near, far = max(d[j] for j in positives), min(d[j] for j in negatives)
                found.append(max(0.0, near - far + margin))
            continue
        for j in positives:
            beyond = [d[n] for n in negatives if d[j] < d[n] < d[j] + margin]
            if beyond:
                found.append(d[j] - min(beyond) + margin)
    assert found, "the example should have triplets"
    return sum(found) / len(found)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("mining", ["hard", "semi-hard"])
def test_mined_triplets_are_those_of_the_loops(
    mining: str, squared: bool, across: bool, masked: bool
) -> None:
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 3, 0])
    anchors, others = normal(8, 3), normal(8, 3, seed=4) if across else normal(8, 3)
    mask = torch.tensor([True, False, True, True, True, True, True, True]) if masked else None
    pairs = label_pairs(labels, labels.flip(0) if across else None, mask, mask if across else None)
    ours = mined_triplet(anchors, others, pairs, 0.9, mining, squared=squared)  # type: ignore[arg-type]
    expected = mined_by_hand(anchors, others, pairs, 0.9, mining, power=2 if squared else 1)
    assert ours.item() == pytest.approx(expected, abs=1e-12)


def test_label_pairs_leave_out_oneself_and_what_is_missing() -> None:
    same, different = label_pairs(torch.tensor([7, 7, 8]), None, torch.tensor([True, True, False]))
    assert same.tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    assert not different.any()
    same, different = label_pairs(
        torch.tensor([0, 1]), torch.tensor([1, 0, 1]), None, torch.tensor([True, True, False])
    )
    assert same.tolist() == [[False, True, False], [True, False, False]]
    assert different.tolist() == [[True, False, False], [False, True, False]]


@pytest.mark.parametrize("hinges", ["sum", "max"])
def test_max_margin_ranks_in_both_directions(hinges: str) -> None:
    scores, margin = normal(5, 5), 0.4
    expected = 0.0
    for i in range(5):
        row = [max(0.0, margin - scores[i, i].item() + scores[i, j].item()) for j in range(5) if j != i]
        column = [max(0.0, margin - scores[i, i].item() + scores[j, i].item()) for j in range(5) if j != i]
        expected += sum(row) + sum(column) if hinges == "sum" else max(row) + max(column)
    ours = max_margin(scores, margin, hinges)  # type: ignore[arg-type]
    assert ours.item() == pytest.approx(expected / 5, abs=1e-12)


def test_learnt_temperature_gives_clip_s_loss() -> None:
    left, right, loss = normal(6, 4), normal(6, 4, seed=1), LearntInfoNce().double()
    unit_left, unit_right = (x / x.norm(dim=-1, keepdim=True) for x in (left, right))
    theirs = image_text_contrastive_loss(unit_left @ unit_right.T / 0.07)
    assert loss(left, right).item() == pytest.approx(theirs.item(), abs=1e-6)  # 0.07 was a single
    assert loss.log_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-6)


def test_sigmoid_loss_is_siglip_s() -> None:
    from transformers import SiglipConfig, SiglipModel

    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = {**small, "vocab_size": 30, "projection_size": 8, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(0)
    config = SiglipConfig(text_config=text, vision_config={**small, "image_size": 8, "patch_size": 4})
    theirs = SiglipModel(config).eval()
    with torch.no_grad():
        theirs.logit_scale.fill_(math.log(10.0))
        theirs.logit_bias.fill_(-10.0)
        said = theirs(
            input_ids=torch.randint(3, 30, (4, 6)), pixel_values=torch.randn(4, 3, 8, 8), return_loss=True
        )
    ours = LearntSigmoid()(said.text_embeds, said.image_embeds)
    assert ours.item() == pytest.approx(said.loss.item(), abs=1e-5 * max(1, abs(said.loss.item())))


def test_a_learnt_scale_is_at_most_100_and_comes_back() -> None:
    loss = LearntInfoNce().double()
    with torch.no_grad():
        loss.log_scale.fill_(9.0)
    left = normal(4, 3)
    value = loss(left, normal(4, 3, seed=1))
    assert value.item() == pytest.approx(info_nce(left, normal(4, 3, seed=1), 100.0).item())
    value.backward()
    assert loss.log_scale.grad is not None
    assert loss.log_scale.grad.abs() > 0


LOSSES = {
    "pair": lambda a, b, mask: pair_margin(a, b, torch.tensor([1, 0, 1, 0, 0, 1])[: len(a)], 2.0, mask),
    "triplet": lambda a, b, mask: triplet(a, b, b.roll(1, 0) + 0.1, 0.5, mask),
    "sum": lambda a, b, mask: max_margin(a @ b.T, 0.5, "sum", mask),
    "max": lambda a, b, mask: max_margin(a @ b.T, 0.5, "max", mask),
    "info": lambda a, b, mask: info_nce(a, b, 3.0, mask),
    "sigmoid": lambda a, b, mask: sigmoid_loss(a, b, 3.0, -1.0, mask),
    "hard": lambda a, b, mask: mined_triplet(a, b, own_pairs(len(a), mask), 0.9, "hard"),
    "semi-hard": lambda a, b, mask: mined_triplet(a, b, own_pairs(len(a), mask), 0.9, "semi-hard"),
}


def own_pairs(n: int, mask: Tensor | None) -> Pairs:
    return label_pairs(torch.arange(n), torch.arange(n), mask, mask)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_function(name: str) -> None:
    left, right = normal(6, 3).requires_grad_(), normal(6, 3, seed=1).requires_grad_()
    mask = torch.tensor([True, True, False, True, True, True])
    assert gradcheck(lambda a, b: LOSSES[name](a, b, None), (left, right))
    assert gradcheck(lambda a, b: LOSSES[name](a, b, mask), (left, right))


@pytest.mark.parametrize("loss", [LearntInfoNce(), LearntSigmoid()])
def test_gradients_reach_the_learnt_scale(loss: nn.Module) -> None:
    loss = loss.double()
    parameters = tuple(loss.parameters())
    left, right = normal(4, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()
    assert gradcheck(lambda a, b, *_: loss(a, b), (left, right, *parameters))


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "triplet"])
def test_missing_rows_count_as_if_they_had_never_been(name: str) -> None:
    left, right = normal(6, 3), normal(6, 3, seed=1)
    mask = torch.tensor([True, True, True, False, True, False])
    if name == "pair":  # whose answers are by row
        same = torch.tensor([1, 0, 1, 0, 0, 1])
        alone = pair_margin(left[mask], right[mask], same[mask], 2.0)
    else:
        alone = LOSSES[name](left[mask], right[mask], None)
    broken = left.clone()
    broken[~mask] = torch.nan
    broken.requires_grad_()
    masked = LOSSES[name](broken, right, mask)
    assert masked.item() == pytest.approx(alone.item(), abs=1e-12)
    masked.backward()
    assert broken.grad is not None
    assert torch.isfinite(broken.grad[mask]).all()


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("name", LOSSES)
def test_one_row_or_none_gives_numbers(name: str, rows: int) -> None:
    left, right = normal(1, 3).requires_grad_(), normal(1, 3, seed=1).requires_grad_()
    value = LOSSES[name](left, right, torch.tensor([rows == 1]))
    value.backward()
    assert torch.isfinite(value)
    for side in (left, right):
        assert side.grad is not None
        assert torch.isfinite(side.grad).all()
    if rows == 0 or name in ("sum", "max", "info", "hard", "semi-hard"):
        assert value.item() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_vectors_that_coincide_give_finite_gradients(name: str) -> None:
    both = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    value = LOSSES[name](both, both, None)
    value.backward()
    assert both.grad is not None
    assert torch.isfinite(both.grad).all()


def test_no_semi_hard_negative_leaves_nothing_to_learn() -> None:
    line = torch.tensor([[0.0], [0.1], [50.0], [50.1]])  # the others are further than the margin
    pairs = label_pairs(torch.tensor([0, 0, 1, 1]))
    assert mined_triplet(line, line, pairs, 1.0, "semi-hard").item() == 0
    assert mined_triplet(line, line, label_pairs(torch.arange(4)), 1.0).item() == 0


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one of .*got 'easy'"):
        mined_triplet(normal(2, 2), normal(2, 2), own_pairs(2, None), mining="easy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected one of .*got 'mean'"):
        max_margin(normal(2, 2), hinges="mean")  # type: ignore[arg-type]
