"""A part on its way through a model, with all that was looked at on it: what explanations are made of."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from chiasm.models.batching import pad_ids
from chiasm.nn.quantised import QuantisedEmbedding
from chiasm.nn.recorder import Recorder, record
from chiasm.nn.relevance import Flow, attention, contribution, gradients, read, relevance, rollout
from chiasm.preprocess.places import Place, frame_places
from chiasm.preprocess.prepared import PreparedPart

Method = Literal["contribution", "relevance", "rollout", "attention", "gradient"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, kw_only=True, eq=False)
class Looked:
    """One pass through one encoder.

    Attributes:
        flow: who looked at whom. recorder: how much, with gradients.
        places: what the first positions are, of each row of the batch; the flow's others are the model's own.
        leaf: what went in, differentiable: pixels, frames of sound, embeddings of tokens; ``[b, …]``.
        spread: a tensor of the leaf's shape, not negative → what of it lies at each place, ``[b, places]``.
    """

    flow: Flow
    recorder: Recorder
    places: Sequence[Sequence[Place]]
    leaf: Tensor
    spread: Callable[[Tensor], Tensor]

    def weights(
        self, score: Tensor, method: Method, *, layer: int | None = None, head: int | None = None
    ) -> Tensor:
        """How much each place matters to a scalar, ``[b, places]``, not negative.

        Args:
            score: made of this pass, with its graph.
            method: ``contribution`` (what the readers took, see :mod:`chiasm.nn.relevance`), ``relevance``
                (Chefer et al. 2021), ``rollout`` (Abnar & Zuidema 2020), ``attention`` (the
                weights of one layer), ``gradient`` (how steeply the score changes with what went in; Simonyan
                et al. 2014).
            layer, head: of ``attention``, see :func:`chiasm.nn.relevance.attention`.

        Raises:
            ValueError: no such layer or head.
        """
        count = len(self.places[0])
        if method == "gradient":
            (slope,) = torch.autograd.grad(score, self.leaf, retain_graph=True, allow_unused=True)
            return self.spread(torch.zeros_like(self.leaf) if slope is None else slope.abs())
        found = at_all(self.flow, self.recorder, score, method, layer=layer, head=head)[:, :count]
        own = [n for n in self.flow.readers if n < count]
        found[:, own] = 0.0  # a class token stands for all, not for a place
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Traced:
    """A part's unit vector ``[d]`` with its graph, and the passes that made it."""

    vector: Tensor
    passes: Sequence[Looked]


def at_all(
    flow: Flow,
    recorder: Recorder,
    score: Tensor,
    method: Method,
    *,
    layer: int | None = None,
    head: int | None = None,
) -> Tensor:
    """How much each position of a flow matters to its readers by a method that reads attention, ``[b, n]``;
    arguments and errors as of :meth:`Looked.weights`."""
    if method == "contribution":
        return contribution(flow, recorder, gradients(flow, recorder, score))
    if method == "relevance":
        return read(flow, relevance(flow, recorder, gradients(flow, recorder, score)))
    if method == "rollout":
        return read(flow, rollout(flow, recorder))
    return read(flow, attention(flow, recorder, layer=layer, head=head))


@contextmanager
def leaf_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """What ``module`` returns within the block becomes leaves that can be differentiated by."""
    leaves: list[Tensor] = []

    def cut(_module: nn.Module, _given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        leaves.append(out.detach().requires_grad_())
        return leaves[-1]

    handle = module.register_forward_hook(cut)
    try:
        yield leaves
    finally:
        handle.remove()


def pixel_leaf(pixels_bhwc: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Pixels as numbers that can be differentiated by, of the same values."""
    leaf: Tensor = torch.from_numpy(pixels_bhwc.astype(np.float32)).to(device).requires_grad_()
    return leaf


def trace_text(
    part: PreparedPart,
    encode: Callable[[Tensor, Tensor], Tensor],
    embedding: nn.Module,
    flow: Callable[[int], Flow],
) -> Traced:
    """A text through a tower.

    Args:
        part: the text. encode: ids and mask ``[1, t]`` → its vector ``[1, d]``.
        embedding: the module in it that looks tokens up. flow: of so many tokens.
    """
    table = embedding.steps if isinstance(embedding, QuantisedEmbedding) else next(embedding.parameters())
    ids_bt, mask_bt = pad_ids([part], table.device)
    with record(gradients=True) as recorder, leaf_of(embedding) as leaves:
        vector_bd = encode(ids_bt, mask_bt)
    t = ids_bt.shape[1]
    places = [[Place("token", n) for n in range(t)]]

    def spread(leaf_btd: Tensor) -> Tensor:
        return over_positions(leaf_btd)[:, :t]

    looked = Looked(flow=flow(t), recorder=recorder, places=places, leaf=leaves[0], spread=spread)
    return Traced(vector=unit(vector_bd), passes=[looked])


def trace_pixels(
    part: PreparedPart,
    encode: Callable[[Tensor], Tensor],
    flow: Flow,
    places: Sequence[Place],
    *,
    device: torch.device,
    seconds: float,
) -> Traced:
    """A picture, or the frames of a clip, through a tower that knows pictures.

    Args:
        part: the picture or clip. encode: pixels ``[b, h, w, 3]`` → vectors ``[b, d]``.
        flow, places: of one picture.
        seconds: how long the clip is.
    """
    pixels = np.asarray(part.arrays["pixels"])
    leaf = pixel_leaf(pixels if pixels.ndim == 4 else pixels[None], device)
    with record(gradients=True) as recorder:
        vectors_bd = encode(leaf)
    vector_bd = F.normalize(vectors_bd.float(), dim=-1).mean(dim=0, keepdim=True)
    shown = [tuple(places)]
    if pixels.ndim == 4:
        shown = [
            tuple(place._replace(span=frame.span) for place in places)
            for frame in frame_places(len(pixels), seconds)
        ]
    looked = Looked(flow=flow, recorder=recorder, places=shown, leaf=leaf, spread=over_pixels(shown))
    return Traced(vector=unit(vector_bd), passes=[looked])


def unit(vector_bd: Tensor) -> Tensor:
    """The only row, of length 1."""
    vector_d: Tensor = F.normalize(vector_bd.float(), dim=-1)[0]
    return vector_d


def over_pixels(places: Sequence[Sequence[Place]]) -> Callable[[Tensor], Tensor]:
    """Sums over the boxes of places, of ``[b, h, w, 3]``; 0 where there is no box."""

    def spread(leaf_bhwc: Tensor) -> Tensor:
        sums_bhw = leaf_bhwc.sum(dim=-1)
        height, width = sums_bhw.shape[1:]
        rows = []
        for own, sums_hw in zip(places, sums_bhw, strict=True):
            found = sums_hw.new_zeros(len(own))
            for n, place in enumerate(own):
                if place.box is not None:
                    left, top, right, bottom = place.box
                    across = slice(round(left * width), round(right * width))
                    found[n] = sums_hw[round(top * height) : round(bottom * height), across].sum()
            rows.append(found)
        return torch.stack(rows)

    return spread


def over_positions(leaf_btd: Tensor) -> Tensor:
    """Lengths of the rows of ``[b, t, d]``: of each token, or each frame of sound."""
    lengths_bt: Tensor = leaf_btd.norm(dim=-1)
    return lengths_bt


def over_frames(places: Sequence[Place], seconds: float) -> Callable[[Tensor], Tensor]:
    """Sums over the stretches of places, of frames ``[b, t, mels]`` of a sound of so many seconds."""

    def spread(leaf_btm: Tensor) -> Tensor:
        sums_bt = leaf_btm.sum(dim=-1)
        each = sums_bt.shape[1] / seconds
        cuts = [
            (0, 0) if place.span is None else (int(place.span[0] * each), round(place.span[1] * each))
            for place in places
        ]
        return torch.stack([sums_bt[:, start : max(end, start + 1)].sum(dim=1) for start, end in cuts], dim=1)

    return spread
