"""Where a number comes from: what recorded attention says about the positions that a model read.

All sequences of a model are numbered through as positions 0 to n - 1, and a :class:`Flow` says which of them
look at which, in what order. From the recorded weights follow three matrices ``[b, n, n]``, whose row i says
what the state at i comes from: the weights of one layer, attention rollout (Abnar & Zuidema 2020, sec. 3) and
relevance by gradients (Chefer et al. 2021); and what the states that the answer is made of took from where.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chiasm.nn.recorder import Recorder

Positions = Sequence[int]


@dataclass(frozen=True)
class Step:
    """One attention layer: ``queries`` look at ``keys``, in the order of its rows and columns."""

    layer: nn.Module
    queries: Positions
    keys: Positions

    @property
    def within(self) -> bool:
        """Whether a sequence looks at itself."""
        return list(self.queries) == list(self.keys)


def block_steps(
    attention: nn.Module, cross: nn.Module | None, own: Positions, context: Positions | None = None
) -> list[Step]:
    """The steps of a block: its own sequence looks at itself, then at the other one, if it does."""
    steps = [Step(attention, own, own)]
    if cross is not None and context is not None:
        steps.append(Step(cross, own, context))
    return steps


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The way through a model.

    Attributes:
        groups: steps in their order; those of one group that look at another sequence see it as it was before
            the group.
        readers: positions whose states the answer is made of.
        count: of all positions.
    """

    groups: Sequence[Sequence[Step]]
    readers: Positions
    count: int

    @property
    def steps(self) -> list[Step]:
        """All steps."""
        return [step for group in self.groups for step in group]

    def layers(self) -> list[nn.Module]:
        """All attention layers."""
        return [step.layer for step in self.steps]


def gradients(flow: Flow, recorder: Recorder, score: Tensor) -> list[Tensor]:
    """Of a scalar by the weights of every step; the graph is kept, so that another score may follow.

    Raises:
        ValueError: it does not depend on any of them.
    """
    alphas = [recorder.of(layer) for layer in flow.layers()]
    if not score.requires_grad:
        raise ValueError(
            "expected a score that was computed from recorded attention, got one without a graph"
        )
    found = torch.autograd.grad(score, alphas, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(alpha) if one is None else one for alpha, one in zip(alphas, found, strict=True)]


def relevance(flow: Flow, recorder: Recorder, grads: Sequence[Tensor]) -> Tensor:
    """Relevance of all positions to all ``[b, n, n]`` (Chefer et al. 2021).

    A layer's map is the mean over heads of the positive part of gradient x weights (eq. 5). Within a sequence
    it is passed on as it is (eq. 6 and 7), from one sequence to another between the own relevance of both,
    normalised (eq. 8 to 11).

    Args:
        grads: of the score by the weights of each step, see :func:`gradients`.
    """
    maps = [
        (alpha * grad).clamp(min=0).mean(dim=1).detach()
        for alpha, grad in zip(_weights(flow, recorder), grads, strict=True)
    ]

    def pass_on(own_bqn: Tensor, seen_bkn: Tensor, map_bqk: Tensor, step: Step) -> Tensor:
        passed_bqn = map_bqk @ seen_bkn
        if not step.within:
            q, k = (torch.as_tensor(list(side), device=map_bqk.device) for side in (step.queries, step.keys))
            between = _normalised(own_bqn[..., q]).transpose(1, 2) @ map_bqk @ _normalised(seen_bkn[..., k])
            passed_bqn = passed_bqn.index_copy(-1, k, between)
        return own_bqn + passed_bqn

    return _propagate(flow, maps, pass_on)


def contribution(flow: Flow, recorder: Recorder, grads: Sequence[Tensor]) -> Tensor:
    """What the readers took from each position, ``[b, n]``: of gradient x weights the sum over their rows in
    all layers and heads, a first-order account of the score (as Selvaraju et al. 2017, eq. 2, of feature
    maps). What speaks against it counts as 0.

    Args:
        grads: as of :func:`relevance`.
    """
    weights = _weights(flow, recorder)
    total_bn = weights[0].new_zeros((len(weights[0]), flow.count))
    readers = set(flow.readers)
    for step, alpha, grad in zip(flow.steps, weights, grads, strict=True):
        rows = [n for n, query in enumerate(step.queries) if query in readers]
        taken_bk = (alpha * grad).detach()[:, :, rows].sum(dim=(1, 2))
        total_bn[:, list(step.keys)] += taken_bk
    return total_bn.clamp(min=0)


def rollout(flow: Flow, recorder: Recorder) -> Tensor:
    """Attention rollout ``[b, n, n]`` (Abnar & Zuidema 2020, sec. 3): the mean over heads, half and half with
    what was there before, layer after layer. Rows sum to 1 where all could look at something."""
    maps = [alpha.mean(dim=1).detach() for alpha in _weights(flow, recorder)]

    def pass_on(own_bqn: Tensor, seen_bkn: Tensor, map_bqk: Tensor, _step: Step) -> Tensor:
        return (own_bqn + map_bqk @ seen_bkn) / 2

    return _propagate(flow, maps, pass_on)


def attention(flow: Flow, recorder: Recorder, *, layer: int | None = None, head: int | None = None) -> Tensor:
    """The weights of one layer as they are, ``[b, n, n]``; rows of positions that do not look there are 0.

    Args:
        layer: number of the step, from 0; without it, the last in which every reader looks.
        head: without it, the mean over heads.

    Raises:
        ValueError: no such layer or head.
    """
    steps, weights = flow.steps, _weights(flow, recorder)
    if layer is None:
        whole = [n for n, step in enumerate(steps) if set(flow.readers) <= set(step.queries)]
        layer = whole[-1] if whole else len(steps) - 1
    if not 0 <= layer < len(steps):
        raise ValueError(f"expected a layer from 0 to {len(steps) - 1}, got {layer}")
    alpha_bhqk, step = weights[layer].detach(), steps[layer]
    if head is not None and not 0 <= head < alpha_bhqk.shape[1]:
        raise ValueError(f"expected a head from 0 to {alpha_bhqk.shape[1] - 1}, got {head}")
    map_bqk = alpha_bhqk.mean(dim=1) if head is None else alpha_bhqk[:, head]
    whole_bnn = map_bqk.new_zeros((len(map_bqk), flow.count, flow.count))
    q, k = (torch.as_tensor(list(side), device=map_bqk.device) for side in (step.queries, step.keys))
    whole_bnn[:, q[:, None], k] = map_bqk
    return whole_bnn


def read(flow: Flow, matrix_bnn: Tensor) -> Tensor:
    """What the readers' states come from, ``[b, n]``."""
    return matrix_bnn[:, list(flow.readers)].sum(dim=1)


PassOn = Callable[[Tensor, Tensor, Tensor, Step], Tensor]
"""Rows of those who look, rows of those who are looked at, the map, the step → new rows."""


def _propagate(flow: Flow, maps: Sequence[Tensor], pass_on: PassOn) -> Tensor:
    b, device = len(maps[0]), maps[0].device
    matrix_bnn = torch.eye(flow.count, device=device, dtype=maps[0].dtype).expand(b, -1, -1).clone()
    remaining = iter(maps)
    for group in flow.groups:
        before_bnn = matrix_bnn.clone() if len(group) > 1 else matrix_bnn
        for step in group:
            q, k = list(step.queries), list(step.keys)
            own_bqn = matrix_bnn[:, q]
            seen_bkn = own_bqn if step.within else before_bnn[:, k]
            matrix_bnn[:, q] = pass_on(own_bqn, seen_bkn, next(remaining), step)
    return matrix_bnn


def _weights(flow: Flow, recorder: Recorder) -> list[Tensor]:
    weights = []
    for step in flow.steps:
        alpha, wanted = recorder.of(step.layer), (len(step.queries), len(step.keys))
        if tuple(alpha.shape[2:]) != wanted:
            raise ValueError(f"expected weights of {wanted} positions, got {list(alpha.shape)}")
        weights.append(alpha)
    return weights


def _normalised(own_bss: Tensor) -> Tensor:
    """What a sequence has taken up, each row as shares of 1, beside itself (Chefer et al. 2021, eq. 8, 9)."""
    eye_ss = torch.eye(own_bss.shape[-1], device=own_bss.device, dtype=own_bss.dtype)
    taken_bss = own_bss - eye_ss
    total = taken_bss.sum(dim=-1, keepdim=True)
    return taken_bss / total.masked_fill(total == 0, 1.0) + eye_ss
