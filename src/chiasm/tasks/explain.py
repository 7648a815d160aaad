"""What brought two things together in a model's space, or kept them apart: weights of their places."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chiasm.errors import InvalidInput
from chiasm.models.traced import METHODS, Method, Traced
from chiasm.preprocess.explanation import Explanation, Side, shares
from chiasm.preprocess.prepared import PreparedItem, PreparedPart


@runtime_checkable
class Traces(Protocol):
    """The ability to show what was looked at on the way to a vector."""

    def trace(self, part: PreparedPart, seconds: float = 1.0) -> Traced:
        """One part on its way."""

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        """Unit vectors ``[n, d]``."""


class Look:
    """How to look: the method, and for ``attention`` the layer and the head.

    Raises:
        InvalidInput: no such method, or a layer or head for another than ``attention``.
    """

    def __init__(
        self, method: str = "contribution", *, layer: int | None = None, head: int | None = None
    ) -> None:
        if method not in METHODS:
            raise InvalidInput(
                f"expected one of {', '.join(METHODS)}, got {method!r}",
                f"应为 {'、'.join(METHODS)} 之一，实际为 {method!r}",
                param="method",
            )
        if method != "attention" and (layer is not None or head is not None):
            raise InvalidInput(
                f"expected layer and head with the method attention only, got them with {method}",
                f"layer 与 head 只能与 attention 方法同用，实际方法为 {method}",
                param="layer" if layer is not None else "head",
            )
        self.method: Method
        self.method, self.layer, self.head = method, layer, head

    def at(self, traced: Traced, score: Tensor) -> NDArray[np.float32]:
        """Of every place of all passes in their order.

        Raises:
            InvalidInput: no such layer or head.
        """
        try:
            found = [
                looked.weights(score, self.method, layer=self.layer, head=self.head).detach().flatten()
                for looked in traced.passes
            ]
        except ValueError as error:
            raise InvalidInput(
                f"{error}", f"layer 或 head 超出范围：{error}", param="layer" if self.layer else "head"
            ) from None
        return np.asarray(torch.cat(found).float().cpu().numpy(), np.float32)


def explain(
    model: Traces,
    item: PreparedPart,
    target: PreparedPart,
    look: Look | None = None,
    *,
    others: Sequence[PreparedPart] = (),
    words: Sequence[PreparedPart] = (),
    seconds: tuple[float, float] = (1.0, 1.0),
) -> Explanation:
    """Where a model looked that gives vectors: the score is the cosine of item and target.

    Args:
        model: with that ability. item, target: of any kind, prepared.
        look: the method.
        others: what the target is told apart from (the other labels): the score is then the cosine less the
            mean of theirs.
        words: for each of them the links say what of the item belongs to it alone.
        seconds: how long item and target are, if they are sounds or clips.
    """
    look = look or Look()
    with torch.enable_grad():
        ours, theirs = model.trace(item, seconds[0]), model.trace(target, seconds[1])
        wanted = theirs.vector.detach()
        if others:
            wanted = wanted - _vectors(model, others).mean(dim=0)
        score = ours.vector @ wanted.to(ours.vector)
        weights = look.at(ours, score)
        back = look.at(theirs, theirs.vector @ ours.vector.detach().to(theirs.vector))
        rows = [look.at(ours, ours.vector @ one.to(ours.vector)) for one in _vectors(model, words)]
    links = np.stack(rows) if rows else np.zeros((0, len(weights)), np.float32)
    first = ours.passes[0]
    return Explanation(
        method=look.method,
        score=float(score.detach()),
        input=_side(item, ours, weights),
        target=_side(target, theirs, back),
        links=shares(links),
        layers=len(first.flow.steps),
        heads=first.recorder.of(first.flow.steps[0].layer).shape[1],
    )


def explain_items(
    model: object, items: Sequence[PreparedItem], options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """:func:`explain`, asked as :func:`chiasm.preprocess.explained.ask` asks, and answered as a message.

    Raises:
        InvalidInput: the model cannot tell, or how to look is not known.
    """
    if not isinstance(model, Traces):
        raise InvalidInput(
            "expected a model that shows where it looks, got one that does not",
            "该模型无法说明其关注之处",
            code="unsupported_task",
            param="model",
        )
    look = Look(options["method"], layer=options["layer"], head=options["head"])
    first, second, *rest = (item.parts[0] for item in items)
    others = options["others"]
    found = explain(
        model,
        first,
        second,
        look,
        others=rest[:others],
        words=rest[others:],
        seconds=tuple(options["seconds"]),
    )
    return found.to_message()


def _vectors(model: Traces, parts: Sequence[PreparedPart]) -> Tensor:
    if not parts:
        return torch.zeros((0, 0))
    with torch.no_grad():
        return model.embed([PreparedItem((part,)) for part in parts])


def _side(part: PreparedPart, traced: Traced, weights: NDArray[np.float32]) -> Side:
    places = [place for looked in traced.passes for row in looked.places for place in row]
    return Side(modality=part.modality, places=places, weights=shares(weights))
