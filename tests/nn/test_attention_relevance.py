"""Relevance from recorded attention, by the numbers of its authors' code (tests/golden/make_relevance.py)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiasm.nn.attention import MultiHeadAttention
from chiasm.nn.pooling import MeanPool, mean_pool
from chiasm.nn.recorder import Recorder, record
from chiasm.nn.relevance import Flow, Step, attention, contribution, gradients, read, relevance, rollout

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "relevance.json").read_text())


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def recorded(steps: list[dict[str, Any]]) -> tuple[Recorder, list[nn.Module], list[Tensor]]:
    recorder, layers = Recorder(), []
    for step in steps:
        layers.append(nn.Identity())
        recorder.add(layers[-1], double(step["alpha"]))
    return recorder, layers, [double(step["grad"]) for step in steps]


def test_two_streams_are_those_of_the_authors() -> None:
    made = GOLDEN["co"]
    recorder, layers, grads = recorded(made["steps"])
    spans = {"t": range(made["text"]), "i": range(made["text"], made["text"] + made["image"])}
    steps = [
        Step(layer, spans[one["name"][0]], spans[one["name"][1]])
        for layer, one in zip(layers, made["steps"], strict=True)
    ]
    # within, within; then both across at once, within, within; and so on
    groups = [steps[:1], steps[1:2]]
    for start in range(2, len(steps), 4):
        groups += [steps[start : start + 2], steps[start + 2 : start + 3], steps[start + 3 : start + 4]]
    count = made["text"] + made["image"]
    found = relevance(Flow(groups=groups, readers=[0], count=count), recorder, grads)
    torch.testing.assert_close(found[0], double(made["relevance"]), rtol=0, atol=1e-12)


def test_a_decoder_is_that_of_the_authors() -> None:
    made = GOLDEN["decoder"]
    recorder, layers, grads = recorded(made["steps"])
    image, queries = made["image"], made["queries"]
    spans = {"i": range(image), "q": range(image, image + queries)}
    groups = [
        [Step(layer, spans[one["name"][0]], spans[one["name"][1]])]
        for layer, one in zip(layers, made["steps"], strict=True)
    ]
    flow = Flow(groups=groups, readers=spans["q"], count=image + queries)
    found = relevance(flow, recorder, grads)
    torch.testing.assert_close(found[0, image:, :image], double(made["relevance"]), rtol=0, atol=1e-12)
    assert torch.equal(read(flow, found)[:, :image], found[:, image:, :image].sum(dim=1))


def test_rollout_is_that_of_the_authors() -> None:
    made = GOLDEN["rollout"]
    recorder, layers = Recorder(), [nn.Identity() for _ in made["alphas"]]
    for layer, alpha in zip(layers, made["alphas"], strict=True):
        recorder.add(layer, double(alpha))
    t = len(made["rollout"])
    flow = Flow(groups=[[Step(layer, range(t), range(t))] for layer in layers], readers=[0], count=t)
    found = rollout(flow, recorder)
    torch.testing.assert_close(found[0], double(made["rollout"]), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(1, t, dtype=torch.float64))


def test_steps_of_one_group_see_the_other_side_as_it_was() -> None:
    recorder, across, back = Recorder(), nn.Identity(), nn.Identity()
    recorder.add(across, torch.ones(1, 1, 1, 1))
    recorder.add(back, torch.ones(1, 1, 1, 1))
    steps = [Step(across, [0], [1]), Step(back, [1], [0])]
    together = rollout(Flow(groups=[steps], readers=[0], count=2), recorder)
    torch.testing.assert_close(together[0], torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    after = rollout(Flow(groups=[steps[:1], steps[1:]], readers=[0], count=2), recorder)
    torch.testing.assert_close(after[0], torch.tensor([[0.5, 0.5], [0.25, 0.75]]))


def test_what_was_taken_adds_up_to_a_linear_score() -> None:
    torch.manual_seed(0)
    pool, x_btd = MeanPool(), torch.randn(1, 5, 3)
    mask = torch.tensor([[True, True, True, True, False]])
    with record(gradients=True) as recorder:
        score = pool(x_btd, mask)[0] @ torch.tensor([1.0, -2.0, 0.5])
    flow = Flow(groups=[[Step(pool, [5], range(5))]], readers=[5], count=6)
    (grad,) = grads = gradients(flow, recorder, score)
    each = x_btd[0] @ torch.tensor([1.0, -2.0, 0.5]) * mask[0] / 4
    assert float(each.sum()) == pytest.approx(float(score.detach()))
    torch.testing.assert_close(contribution(flow, recorder, grads)[0, :5], each.clamp(min=0))
    torch.testing.assert_close(grad[0, 0, 0], x_btd[0] @ torch.tensor([1.0, -2.0, 0.5]))


def test_the_mean_is_the_same_whoever_looks() -> None:
    x_btd, mask = torch.randn(2, 4, 3), torch.tensor([[True, True, False, False], [True] * 4])
    pool = MeanPool()
    with record() as recorder:
        seen, whole = pool(x_btd, mask), pool(x_btd)
    torch.testing.assert_close(seen, mean_pool(x_btd, mask))
    torch.testing.assert_close(seen, pool(x_btd, mask))
    torch.testing.assert_close(whole, x_btd.mean(dim=1))
    torch.testing.assert_close(recorder.weights[0][1][0, 0, 0], torch.tensor([0.5, 0.5, 0.0, 0.0]))


def test_raw_weights_are_those_of_a_layer_and_a_head() -> None:
    torch.manual_seed(0)
    first, last, x_btd = MultiHeadAttention(8, 2), MultiHeadAttention(8, 2), torch.randn(1, 3, 8)
    with record(gradients=True) as recorder, torch.no_grad():
        last(first(x_btd))
    flow = Flow(
        groups=[[Step(first, range(3), range(3))], [Step(last, range(3), range(3))]], readers=[0], count=3
    )
    torch.testing.assert_close(attention(flow, recorder)[0], recorder.of(last)[0].mean(dim=0))
    torch.testing.assert_close(attention(flow, recorder, layer=0, head=1)[0], recorder.of(first)[0, 1])
    with pytest.raises(ValueError, match="layer from 0 to 1, got 2"):
        attention(flow, recorder, layer=2)
    with pytest.raises(ValueError, match="head from 0 to 1, got -1"):
        attention(flow, recorder, head=-1)
    with pytest.raises(ValueError, match="without a graph"):
        gradients(flow, recorder, torch.tensor(1.0))


def test_layers_that_were_not_called_once_are_named() -> None:
    layer = MultiHeadAttention(8, 2)
    with record() as recorder:
        with pytest.raises(ValueError, match="one call of MultiHeadAttention to have been recorded, got 0"):
            recorder.of(layer)
        layer(torch.randn(1, 3, 8))
        layer(torch.randn(1, 3, 8))
    with pytest.raises(ValueError, match="got 2"):
        recorder.of(layer)
    other = MultiHeadAttention(8, 2)
    with record() as recorder:
        other(torch.randn(1, 3, 8))
    flow = Flow(groups=[[Step(other, range(4), range(4))]], readers=[0], count=4)
    with pytest.raises(ValueError, match=r"weights of \(4, 4\) positions, got \[1, 2, 3, 3\]"):
        rollout(flow, recorder)


def test_weights_are_differentiable_though_no_parameter_is() -> None:
    layer = MultiHeadAttention(8, 2).requires_grad_(False)
    with record(gradients=True) as recorder:
        score = layer(torch.randn(1, 3, 8)).sum()
    (found,) = torch.autograd.grad(score, recorder.of(layer))
    assert float(found.abs().sum()) > 0
