"""A picture and a text on their way through a model that reads both together, with all that was looked at.

Where explanations of pairs come from: the flow of attention over the positions of both sides, the logits with
their graph, and what of either side they rest on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from chiasm.models.batching import pad_ids
from chiasm.models.traced import Method, at_all, leaf_of, over_pixels, over_positions, pixel_leaf
from chiasm.nn.recorder import Recorder, record
from chiasm.nn.relevance import Flow, Positions, gradients, relevance, rollout
from chiasm.preprocess.places import Place
from chiasm.preprocess.prepared import PreparedPart

VectorHeads = Callable[[Tensor], Mapping[str, Tensor]]
"""What stands for a pair ``[1, d]`` → logits by name."""


@dataclass(frozen=True, kw_only=True)
class PairFlow(Flow):
    """The way through a model of pairs: which positions are the picture's, and which the text's."""

    picture: Positions
    text: Positions


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """One side: what its positions are, what went in, and how that lies at the positions; the latter two as
    of :class:`chiasm.models.traced.Looked`."""

    places: Sequence[Place]
    leaf: Tensor
    spread: Callable[[Tensor], Tensor]


class PairWeights(NamedTuple):
    """How much every place matters, not negative: ``[places of the picture]``, ``[tokens]``."""

    picture: Tensor
    text: Tensor


class PairLinks(NamedTuple):
    """What belongs to each token, ``[tokens, places of the picture]``, and to each place of the picture,
    ``[places, tokens]``; not negative."""

    of_tokens: Tensor
    of_places: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedPair:
    """One pass with a picture and a text.

    Attributes:
        logits: with their graph, by what they are about: ``match`` (``[]``, whether both belong together),
            ``answer`` and other classifiers (``[classes]``), and what else the model says.
        names: of the classes of those that have some.
        flow: who looked at whom. recorder: how much, with gradients.
        picture, text: the sides.
    """

    logits: Mapping[str, Tensor]
    names: Mapping[str, Sequence[str]]
    flow: PairFlow
    recorder: Recorder
    picture: Seen
    text: Seen

    def weights(
        self, score: Tensor, method: Method, *, layer: int | None = None, head: int | None = None
    ) -> PairWeights:
        """How much each place of both sides matters to a scalar made of the logits.

        Args:
            method: see :meth:`chiasm.models.traced.Looked.weights`. Gradients of pixels and of embeddings are
                of different units: compare them within a side.
            layer, head: of ``attention``; without a layer, for each side the last in which a reader looks at
                it.

        Raises:
            ValueError: no such layer or head.
        """
        sides = (self.picture, self.text)
        if method == "gradient":
            leaves = [side.leaf for side in sides]
            slopes = torch.autograd.grad(score, leaves, retain_graph=True, materialize_grads=True)
            return PairWeights(
                *(side.spread(slope.abs())[0] for side, slope in zip(sides, slopes, strict=True))
            )
        if method == "attention" and layer is None:
            chosen = [self._last(positions) for positions in (self.flow.picture, self.flow.text)]
            found = [self._all(score, method, own, head) for own in chosen]
        else:
            found = [self._all(score, method, layer, head)] * 2
        return PairWeights(found[0][list(self.flow.picture)], found[1][list(self.flow.text)])

    def links(self, score: Tensor, method: Method) -> PairLinks:
        """What each token's state took from the picture, and each place's state from the text: by rollout if
        that is the method, else by relevance to the score (Chefer et al. 2021, fig. 2). All 0 where neither
        side ever looks at the other but both are only looked at by a third."""
        if method == "rollout":
            matrix_nn = rollout(self.flow, self.recorder)[0]
        else:
            matrix_nn = relevance(self.flow, self.recorder, gradients(self.flow, self.recorder, score))[0]
        p, t = list(self.flow.picture), list(self.flow.text)
        return PairLinks(matrix_nn[t][:, p], matrix_nn[p][:, t])

    def _all(self, score: Tensor, method: Method, layer: int | None, head: int | None) -> Tensor:
        found_n = at_all(self.flow, self.recorder, score, method, layer=layer, head=head)[0]
        found_n[list(self.flow.readers)] = 0.0  # a class token stands for all, not for a place
        return found_n

    def _last(self, positions: Positions) -> int | None:
        """The last step in which a reader looks at some of them."""
        readers, wanted = set(self.flow.readers), set(positions)
        found = [
            n
            for n, step in enumerate(self.flow.steps)
            if not readers.isdisjoint(step.queries) and not wanted.isdisjoint(step.keys)
        ]
        return found[-1] if found else None


def trace_pair(
    picture: PreparedPart,
    text: PreparedPart,
    compute: Callable[[Tensor, Tensor], Mapping[str, Tensor]],
    *,
    flow: Callable[[int, int], PairFlow],
    places: Callable[[int, int], Sequence[Place]],
    embedding: nn.Module,
    device: torch.device,
    names: Mapping[str, Sequence[str]] | None = None,
) -> TracedPair:
    """A picture and a text through a model.

    Args:
        compute: pixels ``[1, h, w, 3]`` and ids ``[1, t]`` → logits by name, see :class:`TracedPair`. A text
            without any tokens may be left unread.
        flow: of so many positions of the picture and of the text.
        places: what the picture's positions are, of so many pixels in height and width.
        embedding: the module that looks the text's tokens up, called at most once.
        names: of classes.
    """
    pixels = np.asarray(picture.arrays["pixels"])[None]
    shown = tuple(places(*pixels.shape[1:3]))
    pixels_bhwc, (ids_bt, _) = pixel_leaf(pixels, device), pad_ids([text], device)
    t = ids_bt.shape[1]
    with torch.enable_grad(), record(gradients=True) as recorder, leaf_of(embedding) as leaves:
        logits = compute(pixels_bhwc, ids_bt)
    read_btd = leaves[0] if leaves else torch.zeros((1, t, 1), device=device, requires_grad=True)
    return TracedPair(
        logits=logits,
        names=names or {},
        flow=flow(len(shown), t),
        recorder=recorder,
        picture=Seen(places=shown, leaf=pixels_bhwc, spread=over_pixels([shown])),
        text=Seen(places=tuple(Place("token", n) for n in range(t)), leaf=read_btd, spread=over_positions),
    )


class PairTrunk(Protocol):
    """What reads both sides of a pair, and tells how."""

    @property
    def embedding(self) -> nn.Module:
        """What looks the text's tokens up."""

    def picture_places(self, height: int, width: int) -> list[Place]:
        """What the positions are of a picture of so many pixels."""

    def flow(self, p: int, t: int) -> PairFlow:
        """Who looks at whom among so many positions of the picture and of the text."""


def log_odds(logits_c: Tensor) -> Tensor:
    """Logits of the probability of each class, ``[classes]``, from logits of classes that exclude each other;
    of a single class as they are."""
    if len(logits_c) < 2:
        return logits_c
    alone_cc = torch.eye(len(logits_c), dtype=torch.bool, device=logits_c.device)
    others_cc = logits_c.expand(len(logits_c), -1).masked_fill(alone_cc, -torch.inf)
    return logits_c - others_cc.logsumexp(dim=-1)
