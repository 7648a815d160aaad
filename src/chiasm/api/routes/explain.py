"""``POST /v1/explain``: where the model looked when it brought two things together."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from flask import Blueprint, Response, request

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.forms import read_sides
from chiasm.api.inputs import aside, decoded
from chiasm.api.model import perform, preprocessor_of, served, usage
from chiasm.api.parts import ItemSpec, check_parts, parse_inputs, parse_item
from chiasm.api.schemas.explain import ExplainBody
from chiasm.api.validation import expected
from chiasm.media import segment_at
from chiasm.modality import Audio, Image, Item, Part, Text, item_of
from chiasm.preprocess.explained import Explained, Spot, ask, understand
from chiasm.preprocess.explanation import Explanation

blueprint = Blueprint("explain", __name__)
PNG, JSON = "image/png", "application/json"


@blueprint.post("/v1/explain")
def explain() -> Response:
    """Weights of the parts of both sides, and for each word what of the other side belongs to it."""
    limits = context().settings.limits
    if is_form():
        body, (inputs, targets) = read_sides(ExplainBody, "input", "target")
        for name, found in (("input", inputs), ("target", targets)):
            if len(found) != 1:
                raise expected("one part", "一个部分", len(found), name)
        specs: list[ItemSpec] = [*inputs, *targets]
    else:
        body = validated(ExplainBody, read_json())
        specs = [parse_item(body.input, "input", limits), parse_item(body.target, "target", limits)]
    if body.others is not None:
        specs += parse_inputs(body.others, "others", limits)
    check_parts(sum(len(spec.parts) for spec in specs), "others", limits)
    items = decoded(specs) if body.start is None else [_stretch(specs[0], body.start), *decoded(specs[1:])]
    using = served(body.model)
    preprocessor = preprocessor_of(using)
    question = aside(
        lambda: ask(
            preprocessor,
            *items[:2],
            others=items[2:],
            method=body.method,
            layer=body.layer,
            head=body.head,
        )
    )
    answer = perform("explain", question.items, question.options, using.embedder)
    told = understand(preprocessor, question, Explanation.from_message(answer.about, answer.arrays))
    if request.accept_mimetypes.best_match([JSON, PNG]) == PNG:
        return Response(aside(told.picture), mimetype=PNG)
    description = using.embedder.description
    return reply(
        {
            "object": "explanation",
            "model": description.name,
            **_told(told),
            "usage": usage(question.items, description),
        }
    )


def _stretch(spec: ItemSpec, start: float) -> Item:
    """What lies at ``start`` of a stored file, as long as the library's stretches are."""
    ready = context()
    part = spec.parts[0]
    if len(spec.parts) != 1 or part.kind != "file":
        raise expected("an uploaded file as input", "input 为已上传的文件", part.kind, "start")
    seconds, limits = ready.settings.library.segment_seconds, ready.settings.limits
    path = ready.library.path_of(part.value)
    return aside(lambda: item_of(segment_at(path, limits, seconds, start).part))


def _told(found: Explained) -> dict[str, Any]:
    return {
        "method": found.method,
        "score": found.score,
        "layers": found.layers,
        "heads": found.heads,
        "input": _side(found.parts[0], found.input),
        "target": _side(found.parts[1], found.target),
        "links": {
            "from": "input" if found.linked == "target" else "target",
            "to": found.linked,
            "words": [
                {
                    "text": link.word.text,
                    "span": [link.word.start, link.word.end],
                    "weight": link.weight,
                    "weights": _numbers(link.weights.tolist()),
                }
                for link in found.links
            ],
        },
    }


def _side(part: Part, spots: Sequence[Spot]) -> dict[str, Any]:
    """Tokens, regions, segments or frames in the order of the links' weights; frames have regions."""
    match part:
        case Text():
            found = {"tokens": [_token(spot) for spot in spots]}
        case Image():
            found = {"regions": [_region(spot) for spot in spots]}
        case Audio():
            found = {"segments": [{**_span(spot), **_weight(spot)} for spot in spots]}
        case _:
            frames = groupby(spots, lambda spot: spot.span)
            found = {"frames": [_frame(list(regions)) for _, regions in frames]}
    return {"modality": part.modality.value, **found}


def _token(spot: Spot) -> dict[str, Any]:
    span = None if spot.span is None else [int(edge) for edge in spot.span]
    return {"text": spot.text, "span": span, **_weight(spot)}


def _frame(spots: Sequence[Spot]) -> dict[str, Any]:
    weight = round(sum(spot.weight for spot in spots), 6)
    return {**_span(spots[0]), "weight": weight, "regions": [_region(spot) for spot in spots]}


def _region(spot: Spot) -> dict[str, Any]:
    return {"box": None if spot.box is None else _numbers(spot.box), **_weight(spot)}


def _span(spot: Spot) -> dict[str, Any]:
    return {"span": None if spot.span is None else _numbers(spot.span)}


def _weight(spot: Spot) -> dict[str, Any]:
    return {"weight": round(spot.weight, 6)}


def _numbers(values: Sequence[float]) -> list[float]:
    return [round(value, 6) for value in values]
