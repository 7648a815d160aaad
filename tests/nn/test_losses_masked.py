"""Whole-word masking, ITM and optimal transport against loops in float64 and an exact solver."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from chiasm.nn.losses import (
    IGNORED,
    alignment_loss,
    mask_whole_words,
    masked_word_loss,
    matching_loss,
    transport_distance,
    transport_plan,
)

gradcheck = partial(torch.autograd.gradcheck, fast_mode=True)
MASK, VOCABULARY = 4, 1000


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def texts(rows: int = 400, length: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, word starts, and what is no special token or padding: [CLS] words [SEP] padding."""
    generator = torch.Generator().manual_seed(9)
    ids = torch.randint(10, VOCABULARY, (rows, length), generator=generator)
    starts = torch.rand((rows, length), generator=generator) < 0.6
    ends = torch.randint(3, length, (rows, 1), generator=generator)
    place = torch.arange(length)[None]
    starts |= (place <= 1) | (place == ends)
    starts &= place <= ends
    maskable = (place > 0) & (place < ends)
    return ids, starts, maskable


def masked(rate: float = 0.15, seed: int = 0, rows: int = 400) -> tuple[Tensor, ...]:
    ids, starts, maskable = texts(rows)
    out = mask_whole_words(
        ids,
        starts,
        maskable,
        mask_id=MASK,
        vocabulary=VOCABULARY,
        rate=rate,
        generator=torch.Generator().manual_seed(seed),
    )
    return ids, starts, maskable, *out


def test_words_are_asked_for_whole_or_not_at_all() -> None:
    ids, starts, maskable, read, targets = masked()
    asked = targets != IGNORED
    assert not asked[~maskable].any()
    assert torch.equal(targets[asked], ids[asked])
    assert torch.equal(read[~asked], ids[~asked])
    continues = maskable[:, 1:] & ~starts[:, 1:]
    assert continues.sum() > 100
    assert torch.equal(asked[:, 1:][continues], asked[:, :-1][continues])


def test_every_text_is_asked_something_and_about_the_rate_of_all_words() -> None:
    _, starts, maskable, _, targets = masked(rows=4000)
    words = starts & maskable
    asked = (targets != IGNORED) & words
    assert (asked.sum(dim=1) >= 1).all()
    # each word by itself, and the luckiest at least: of n words that have none, (1 - rate)^n, one more
    counts = words.sum(dim=1).double()
    expected = (0.15 * counts + 0.85**counts).sum().item()
    assert asked.sum().item() == pytest.approx(expected, rel=0.05)


def test_eight_in_ten_are_masked_one_is_any_one_stays() -> None:
    ids, _, _, read, targets = masked(rate=1.0, rows=4000)
    asked = targets != IGNORED
    share = (read[asked] == MASK).double().mean().item()
    kept = (read[asked] == ids[asked]).double().mean().item()
    assert share == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1, abs=0.01)
    assert read.min() >= 0
    assert read.max() < VOCABULARY


def test_the_generator_alone_decides() -> None:
    first, again, other = masked(seed=3), masked(seed=3), masked(seed=4)
    assert torch.equal(first[3], again[3])
    assert not torch.equal(first[3], other[3])


def test_a_text_of_padding_alone_is_asked_nothing() -> None:
    nothing = torch.zeros(2, 5, dtype=torch.bool)
    ids = torch.zeros(2, 5, dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    out = mask_whole_words(ids, nothing, nothing, mask_id=4, vocabulary=9, generator=generator)
    assert torch.equal(out.ids_bt, ids)
    assert (out.targets_bt == IGNORED).all()
    logits = normal(2, 5, 9).requires_grad_()
    loss = masked_word_loss(logits, out.targets_bt)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_masked_word_loss_is_the_mean_surprise_at_what_is_asked() -> None:
    logits, targets = normal(2, 3, 5), torch.tensor([[IGNORED, 3, 0], [4, IGNORED, IGNORED]])
    found = []
    for b in range(2):
        for t in range(3):
            right = int(targets[b, t])
            if right != IGNORED:
                row = logits[b, t].tolist()
                found.append(math.log(sum(math.exp(z) for z in row)) - row[right])
    assert masked_word_loss(logits, targets).item() == pytest.approx(sum(found) / 3, abs=1e-12)
    assert gradcheck(lambda x: masked_word_loss(x, targets), (logits.requires_grad_(),))


def test_matching_is_a_question_of_yes_or_no() -> None:
    logits, matched = normal(4, 2), torch.tensor([True, False, False, True])
    mask = torch.tensor([True, True, False, True])
    each = [math.log(sum(math.exp(z) for z in row)) - row[int(y)] for row, y in zip(
        logits.tolist(), matched.tolist(), strict=True)]  # fmt: skip
    assert matching_loss(logits, matched).item() == pytest.approx(sum(each) / 4, abs=1e-12)
    left = (each[0] + each[1] + each[3]) / 3
    assert matching_loss(logits, matched.long(), mask).item() == pytest.approx(left, abs=1e-12)
    assert matching_loss(logits, matched, torch.zeros(4, dtype=torch.bool)).item() == 0
    assert gradcheck(lambda x: matching_loss(x, matched, mask), (logits.requires_grad_(),))
    with pytest.raises(ValueError, match="got 3 a row"):
        matching_loss(normal(4, 3), matched)


def plan_by_hand(cost: list[list[float]], beta: float, steps: int) -> list[list[float]]:
    """Algorithm 1 of Xie et al. for one pair, words in rows; patches are scaled first."""
    t, p = len(cost), len(cost[0])
    plan = [[1.0] * p for _ in range(t)]
    left = [1 / t] * t
    for _ in range(steps):
        q = [[math.exp(-cost[i][j] / beta) * plan[i][j] for j in range(p)] for i in range(t)]
        right = [1 / (p * sum(q[i][j] * left[i] for i in range(t))) for j in range(p)]
        left = [1 / (t * sum(q[i][j] * right[j] for j in range(p))) for i in range(t)]
        plan = [[left[i] * q[i][j] * right[j] for j in range(p)] for i in range(t)]
    return plan


def case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Words, patches and their masks, padding not only at the end."""
    mask_bt = torch.tensor([[False, True, True, False, True], [True] * 5, [True, True, False, False, False]])
    mask_bp = torch.tensor([[True] * 4, [True, False, True, True], [True, True, True, False]])
    return normal(3, 5, 6), normal(3, 4, 6, seed=1), mask_bt, mask_bp


def test_plans_are_those_of_the_loops() -> None:
    _, _, mask_bt, mask_bp = case()
    cost = normal(3, 5, 4).abs()
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        plan = transport_plan(cost.to(dtype), mask_bt, mask_bp)
        assert plan.dtype == dtype
        for b in range(3):
            real = cost[b][mask_bt[b]][:, mask_bp[b]]
            expected = torch.tensor(plan_by_hand(real.tolist(), 0.5, 50), dtype=torch.float64)
            found = plan[b][mask_bt[b]][:, mask_bp[b]].double()
            torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
        real_btp = mask_bt[:, :, None] & mask_bp[:, None, :]
        assert (plan[~real_btp] == 0).all()
        torch.testing.assert_close(plan.sum(dim=(1, 2)), torch.ones(3, dtype=dtype))


def test_distances_are_those_of_the_published_objective() -> None:
    """Numbers of ViLT's code (``objectives.optimal_transport_dist``) in double precision, run aside."""
    words = torch.arange(90, dtype=torch.float64).sin().reshape(3, 5, 6)
    patches = (torch.arange(72, dtype=torch.float64) * 1.7).cos().reshape(3, 4, 6)
    mask_bt = torch.arange(5) < torch.tensor([5, 2, 3])[:, None]
    mask_bp = torch.arange(4) < torch.tensor([3, 4, 1])[:, None]
    published = [0.8993748605473401, 0.8869648038452183, 0.668556054650336]
    assert transport_distance(words, patches, mask_bt, mask_bp).tolist() == pytest.approx(
        published, abs=1e-12
    )


def test_the_distance_comes_to_that_of_an_exact_solver() -> None:
    words, patches, mask_bt, mask_bp = case()
    found = transport_distance(words, patches, mask_bt, mask_bp, steps=2000)
    for b in range(3):
        x, y = (
            rows / rows.norm(dim=1, keepdim=True) for rows in (words[b][mask_bt[b]], patches[b][mask_bp[b]])
        )
        cost = (1 - x @ y.T).numpy()
        t, p = cost.shape
        rows = np.kron(np.eye(t), np.ones(p))
        columns = np.kron(np.ones(t), np.eye(p))
        sums = np.concatenate([np.full(t, 1 / t), np.full(p, 1 / p)])
        exact = linprog(cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=sums)
        assert found[b].item() == pytest.approx(exact.fun, abs=1e-3)


def test_gradients_are_those_of_the_costs_under_the_plan() -> None:
    words, patches, mask_bt, mask_bp = case()
    words, patches = words.requires_grad_(), patches.requires_grad_()

    def cost(x: Tensor, y: Tensor) -> Tensor:
        return 1 - (x / x.norm(dim=-1, keepdim=True)) @ (y / y.norm(dim=-1, keepdim=True)).transpose(1, 2)

    plan = transport_plan(cost(words, patches), mask_bt, mask_bp)
    assert not plan.requires_grad
    expected = torch.autograd.grad((plan * cost(words, patches)).sum(), (words, patches))
    found = torch.autograd.grad(transport_distance(words, patches, mask_bt, mask_bp).sum(), (words, patches))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)
    assert gradcheck(lambda x, y: (plan * cost(x, y)).sum(), (words, patches))


def test_alignment_draws_pairs_together_and_others_apart() -> None:
    words, patches, mask_bt, mask_bp = case()
    distance = transport_distance(words, patches, mask_bt, mask_bp)
    matched = torch.tensor([True, False, True])
    loss = alignment_loss(words, patches, mask_bt, mask_bp, matched)
    assert loss.item() == pytest.approx((distance[0] - distance[1] + distance[2]).item() / 3, abs=1e-12)


def test_padding_changes_no_distance() -> None:
    words, patches, mask_bt, mask_bp = case()
    together = transport_distance(words, patches, mask_bt, mask_bp)
    for b in range(3):
        x, y = words[b][mask_bt[b]][None], patches[b][mask_bp[b]][None]
        full = [torch.ones(1, rows.shape[1], dtype=torch.bool) for rows in (x, y)]
        assert transport_distance(x, y, *full).item() == pytest.approx(together[b].item(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_side_of_padding_alone_gives_no_undefined_number(dtype: torch.dtype) -> None:
    words, patches, mask_bt, mask_bp = (x.to(dtype) if x.is_floating_point() else x for x in case())
    mask_bt[0], mask_bp[1] = False, False
    words[2] = 0  # and states that are nothing at all
    words, patches = words.requires_grad_(), patches.requires_grad_()
    distance = transport_distance(words, patches, mask_bt, mask_bp)
    assert distance[:2].tolist() == [0, 0]
    loss = alignment_loss(words, patches, mask_bt, mask_bp, torch.tensor([1, 0, 1]))
    assert loss.item() == pytest.approx(distance[2].item())
    loss.backward()
    for side in (words, patches):
        assert side.grad is not None
        assert torch.isfinite(side.grad).all()
    nothing = torch.zeros_like(mask_bt)
    assert alignment_loss(words, patches, nothing, mask_bp, torch.tensor([1, 0, 1])).item() == 0
