"""Asking a model where it looked, and putting its answer into the terms of what was asked about. No torch.

Between the two lies a call to the model, in this process or in another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import ChiasmError, InvalidInput
from chiasm.modality import Image, Item, Modality, Part, Text, Video
from chiasm.preprocess.explanation import Explanation, Side, shares
from chiasm.preprocess.overlay import SIDE, overlay
from chiasm.preprocess.places import Box, Span
from chiasm.preprocess.prepared import PreparedItem, PreparedPart
from chiasm.preprocess.preprocessor import Preprocessor
from chiasm.preprocess.words import Word, words_of

MOST_WORDS = 32
"""Words with links of their own; each costs a pass back through the model."""


class Spot(NamedTuple):
    """A place in what was given, and how much it matters: shares of all spots of its side.

    Attributes:
        box: left, top, right, bottom as shares of the picture or frame as it was given.
        span: characters of a text; seconds of a sound or clip.
        text: the characters.
    """

    weight: float
    box: Box | None = None
    span: Span | None = None
    text: str | None = None


class Link(NamedTuple):
    """A word, how much it matters to the score, and what of the other side belongs to it: weights of the
    other side's spots."""

    word: Word
    weight: float
    weights: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """Where a model looked, in terms of what was given.

    Attributes:
        method, score, layers, heads: see :class:`Explanation`.
        input, target: spots of both sides, in reading order.
        links: of the words of the side that is a text (the target's, if both are).
        linked: ``input`` or ``target``: whose spots the links weigh.
        parts: what was given: input and target.
    """

    method: str
    score: float
    layers: int
    heads: int
    input: Sequence[Spot]
    target: Sequence[Spot]
    links: Sequence[Link]
    linked: str
    parts: tuple[Part, Part]

    def picture(self, *, side: int = SIDE) -> bytes:
        """PNG of the input with the weights over it, or of the target where the input is a text; see
        :func:`chiasm.preprocess.overlay.overlay`.

        Raises:
            InvalidInput: both are texts.
        """
        given, target = self.parts
        if isinstance(given, Text) and not isinstance(target, Text):
            return overlay(target, self.target, side=side)
        return overlay(given, self.input, side=side)

    def save(self, path: str | Path) -> None:
        """Write :meth:`picture` to a file."""
        Path(path).write_bytes(self.picture())


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What goes to the model: the task ``explain`` with these items and options."""

    items: Sequence[PreparedItem]
    options: Mapping[str, Any]
    input: Part
    target: Part
    turned: bool
    words: Sequence[Word]


def ask(
    preprocessor: Preprocessor,
    item: Item,
    target: Item,
    *,
    others: Sequence[Item] = (),
    method: str = "contribution",
    layer: int | None = None,
    head: int | None = None,
) -> Question:
    """Prepare the question what brought ``item`` and ``target`` together.

    Args:
        others: what the target is told apart from.
        method, layer, head: see :class:`chiasm.tasks.explain.Look`.

    Raises:
        InvalidInput: an item of several parts, or what the model does not take.
    """
    given, wanted = _only(item, "input"), _only(target, "target")
    turned = given.modality is Modality.TEXT and wanted.modality is not Modality.TEXT and not others
    first, second = (wanted, given) if turned else (given, wanted)
    words = _words(preprocessor, second) if isinstance(second, Text) else []
    parts: list[tuple[Part, str]] = [
        (first, "target" if turned else "input"),
        (second, "input" if turned else "target"),
    ]
    parts += [(_only(other, f"others[{n}]"), f"others[{n}]") for n, other in enumerate(others)]
    parts += [(Text(word.text), "target") for word in words]
    prepared = [_prepared(preprocessor, part, name) for part, name in parts]
    audio = preprocessor.description.preprocess.audio
    return Question(
        items=[PreparedItem((one,)) for one in prepared],
        options={
            "method": method,
            "layer": layer,
            "head": head,
            "others": len(others),
            "seconds": [
                part.seconds if isinstance(part, Video) else one.seconds(audio) or 1.0
                for part, one in zip((first, second), prepared, strict=False)
            ],
        },
        input=given,
        target=wanted,
        turned=turned,
        words=words,
    )


def understand(preprocessor: Preprocessor, question: Question, found: Explanation) -> Explained:
    """The model's answer to :func:`ask`, about what was given."""
    sides = (found.target, found.input) if question.turned else (found.input, found.target)
    spots = [
        _spots(preprocessor, part, side)
        for part, side in zip((question.input, question.target), sides, strict=True)
    ]
    weights = shares(
        np.asarray([sum(found.target.weights[list(w.tokens)]) for w in question.words], np.float64)
    )
    return Explained(
        method=found.method,
        score=found.score,
        layers=found.layers,
        heads=found.heads,
        input=spots[0],
        target=spots[1],
        links=[
            Link(word, float(weight), row)
            for word, weight, row in zip(question.words, weights, found.links, strict=False)
        ],
        linked="target" if question.turned else "input",
        parts=(question.input, question.target),
    )


def _spots(preprocessor: Preprocessor, part: Part, side: Side) -> list[Spot]:
    weights = side.weights.tolist()
    if isinstance(part, Text):
        places = preprocessor.text_places(part.text)
        return [
            Spot(weight, span=place.span, text=part.text[int(place.span[0]) : int(place.span[1])])
            if place.span is not None
            else Spot(weight, text="")
            for place, weight in zip(places, weights, strict=True)
        ]
    if isinstance(part, Image):
        where = preprocessor.boxes_in(part.pixels, [place.box for place in side.places])
        return [Spot(weight, box=box) for box, weight in zip(where, weights, strict=True)]
    if isinstance(part, Video):
        where = preprocessor.boxes_in(part.frames[0], [place.box for place in side.places], frame=True)
        return [
            Spot(weight, box=box, span=place.span)
            for box, place, weight in zip(where, side.places, weights, strict=True)
        ]
    return [Spot(weight, span=place.span) for place, weight in zip(side.places, weights, strict=True)]


def _words(preprocessor: Preprocessor, part: Text) -> list[Word]:
    return words_of(part.text, preprocessor.text_places(part.text))[:MOST_WORDS]


def _only(item: Item, name: str) -> Part:
    if len(item.parts) != 1:
        raise InvalidInput(
            f"expected one text, picture, sound or clip to explain, got {len(item.parts)} parts",
            f"解释只接受单个文本、图片、声音或视频，实际有 {len(item.parts)} 个部分",
            param=name,
        )
    return item.parts[0]


def _prepared(preprocessor: Preprocessor, part: Part, name: str) -> PreparedPart:
    try:
        return preprocessor.prepare_part(part)
    except ChiasmError as error:
        raise error.at(name) from None
