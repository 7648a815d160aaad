"""Attention against formulas written out in float64 numpy, with loops instead of broadcasting."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from chiasm.nn.attention import (
    AdditiveScore,
    CosineScore,
    DotScore,
    MultiHeadAttention,
    ScoreKind,
    make_score,
    weigh,
)
from chiasm.nn.recorder import active_recorder, record

KINDS: tuple[ScoreKind, ...] = ("dot", "additive", "cosine")
B, H, T, S, D = 2, 3, 4, 5, 6

Array = NDArray[np.float64]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def a_layer(
    score: ScoreKind = "dot", *, width: int = 12, heads: int = 3, context: int | None = None
) -> MultiHeadAttention:
    torch.manual_seed(5)
    layer = MultiHeadAttention(width, heads, context_width=context, score=score).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def score_of(kind: ScoreKind, layer: nn.Module, head: int, q: Array, k: Array) -> float:
    """The outline's score of one query and one key."""
    if kind == "dot":
        return float(sum(q * k)) / math.sqrt(len(q))
    if kind == "additive":
        return float(sum(layer.w_hd[head].detach().numpy() * np.tanh(q + k)))
    tau = min(100.0, math.exp(float(layer.log_tau_h[head].detach())))
    return tau * float(sum(q * k)) / (math.sqrt(sum(q * q)) * math.sqrt(sum(k * k)))


def by_hand(layer: MultiHeadAttention, x: Array, context: Array, allowed: Array) -> Array:
    """Multi-head attention of one sequence by loops over heads, queries and keys; ``allowed`` is [t, s]."""

    def linear(map_: nn.Linear, rows: Array) -> Array:
        return rows @ map_.weight.detach().numpy().T + map_.bias.detach().numpy()

    q, k, v = linear(layer.query, x), linear(layer.key, context), linear(layer.value, context)
    each = q.shape[1] // layer.heads
    merged = np.zeros_like(q)
    for head in range(layer.heads):
        own = slice(head * each, (head + 1) * each)
        for t in range(len(q)):
            keys = [s for s in range(len(k)) if allowed[t, s]]
            scores = [score_of(layer.score_kind, layer.score, head, q[t, own], k[s, own]) for s in keys]
            total = sum(math.exp(score) for score in scores)
            for s, score in zip(keys, scores, strict=True):
                merged[t, own] += math.exp(score) / total * v[s, own]
    return linear(layer.output, merged)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_follow_their_formula(kind: ScoreKind) -> None:
    layer = make_score(kind, H, D).double()
    q, k = normal(B, H, T, D), normal(B, H, S, D, seed=1)
    got = layer(q, k).detach().numpy()
    for b, h, t, s in np.ndindex(B, H, T, S):
        expected = score_of(kind, layer, h, q[b, h, t].numpy(), k[b, h, s].numpy())
        assert got[b, h, t, s] == pytest.approx(expected, abs=1e-12)


def test_kinds_name_their_scores() -> None:
    assert isinstance(make_score("dot", H, D), DotScore)
    assert isinstance(make_score("additive", H, D), AdditiveScore)
    assert isinstance(make_score("cosine", H, D), CosineScore)
    with pytest.raises(ValueError, match=r"expected one of .*got 'max'"):
        make_score("max", H, D)  # type: ignore[arg-type]


def test_cosine_temperature_is_bounded_and_length_does_not_matter() -> None:
    layer = CosineScore(H).double()
    q, k = normal(B, H, T, D), normal(B, H, S, D, seed=1)
    assert torch.allclose(layer(q, k), layer(7 * q, 0.1 * k))
    nn.init.constant_(layer.log_tau_h, 50.0)
    assert layer(q, q).amax().item() == pytest.approx(100.0)


def test_weights_are_the_softmax_and_masked_keys_get_exactly_zero() -> None:
    scores = normal(B, H, T, S)
    mask = normal(B, 1, T, S, seed=3) > -0.5
    mask[0, 0, 0] = False
    alpha = weigh(scores, mask)
    allowed = mask.expand_as(scores)
    assert (alpha[~allowed] == 0).all()
    sums = alpha.sum(dim=-1)
    some = allowed.any(dim=-1)
    assert torch.allclose(sums[some], torch.ones_like(sums[some]))
    assert (sums[~some] == 0).all()
    assert (~some).any()
    ratio = scores.exp() * allowed
    assert torch.allclose(alpha[some], (ratio / ratio.sum(dim=-1, keepdim=True))[some])


@pytest.mark.parametrize("kind", KINDS)
def test_self_attention_equals_the_loops(kind: ScoreKind) -> None:
    layer, x = a_layer(kind), normal(B, T, 12)
    out = layer(x).detach().numpy()
    for b in range(B):
        expected = by_hand(layer, x[b].numpy(), x[b].numpy(), np.ones((T, T)))
        np.testing.assert_allclose(out[b], expected, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_cross_attention_equals_the_loops_with_padding_and_full_masks(kind: ScoreKind) -> None:
    layer, x, context = a_layer(kind, context=7), normal(B, T, 12), normal(B, S, 7, seed=1)
    padding = torch.tensor([[True] * 5, [True, True, False, True, False]])
    full = normal(B, 1, T, S, seed=2) > 0
    full[:, :, :, 0] = True
    for mask, allowed in ((padding, padding[:, None].expand(B, T, S)), (full, full[:, 0])):
        out = layer(x, context, mask).detach().numpy()
        for b in range(B):
            expected = by_hand(layer, x[b].numpy(), context[b].numpy(), allowed[b].numpy())
            np.testing.assert_allclose(out[b], expected, atol=1e-10)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_query_that_may_look_at_nothing_gets_zeros(kind: ScoreKind, recorded: bool) -> None:
    layer, x = a_layer(kind), normal(B, T, 12).requires_grad_()
    mask = torch.ones(B, 1, T, T, dtype=torch.bool)
    mask[0, 0, 2] = False
    if recorded:
        with record():
            out = layer(x, mask=mask)
    else:
        out = layer(x, mask=mask)
    assert torch.equal(out[0, 2], layer.output.bias)
    out.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
def test_recording_changes_no_output(kind: ScoreKind, masked: bool) -> None:
    layer, x = a_layer(kind).float(), normal(B, T, 12).float()
    mask = torch.tensor([[True, True, True, False], [True, False, True, True]]) if masked else None
    plain = layer(x, mask=mask)
    with record() as recorder:
        explicit = layer(x, mask=mask)
    assert torch.allclose(plain, explicit, atol=1e-6)
    ((_, alpha),) = recorder.weights
    assert alpha.shape == (B, 3, T, T)
    assert torch.allclose(alpha.sum(dim=-1), torch.ones(B, 3, T), atol=1e-6)
    if masked:
        assert (alpha[0, :, :, 3] == 0).all()


def test_the_recorder_names_layers_in_the_order_of_their_calls() -> None:
    model = nn.ModuleDict({"late": a_layer(), "early": a_layer(context=7)})
    x, context = normal(B, T, 12), normal(B, S, 7)
    with record(model) as recorder:
        model["early"](x, context)
        model["late"](x)
    assert [name for name, _ in recorder.weights] == ["early", "late"]
    assert [tuple(alpha.shape) for _, alpha in recorder.weights] == [(B, 3, T, S), (B, 3, T, T)]
    with record() as nameless:
        model["late"](x)
    assert [name for name, _ in nameless.weights] == ["MultiHeadAttention"]


def test_recording_ends_with_its_block_even_after_an_error() -> None:
    with pytest.raises(KeyError), record():
        raise KeyError
    assert active_recorder() is None
    with record() as outer:
        with record() as inner:
            a_layer()(normal(1, 2, 12))
        a_layer()(normal(1, 2, 12))
    assert len(inner.weights) == len(outer.weights) == 1


def test_gradients_flow_through_recorded_weights() -> None:
    with record() as recorder:
        out = a_layer()(normal(B, T, 12))
    ((_, alpha),) = recorder.weights
    (gradient,) = torch.autograd.grad(out.square().sum(), alpha)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_function(kind: ScoreKind) -> None:
    layer = a_layer(kind, width=4, heads=2, context=3)
    x, context = normal(2, 2, 4).requires_grad_(), normal(2, 3, 3, seed=1).requires_grad_()
    mask = torch.tensor([[True, True, True], [True, False, True]])
    parameters = tuple(layer.parameters())

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        return layer(inputs[0], inputs[1], mask)

    assert torch.autograd.gradcheck(run, (x, context, *parameters), fast_mode=True)


@pytest.mark.parametrize(("width", "heads"), [(10, 3), (12, 0), (12, -2), (0, 2)])
def test_heads_that_do_not_divide_the_width_are_refused(width: int, heads: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        MultiHeadAttention(width, heads)
