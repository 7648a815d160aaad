"""``POST /v1/locate``: where in a picture, or when in a sound or clip, something is."""

from typing import Any

import numpy as np
from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.forms import read_sides
from chiasm.api.inputs import decoded, in_threads, prepare
from chiasm.api.model import Embedded, perform, served, usage, vectors_of
from chiasm.api.parts import ItemSpec, parse_item
from chiasm.api.ports import ModelApi
from chiasm.api.relating import Side, calibration, modality_of, probabilities
from chiasm.api.schemas.explain import LocateBody
from chiasm.api.validation import expected
from chiasm.errors import ChiasmError, InvalidInput
from chiasm.modality import Part, Text, item_of
from chiasm.preprocess.windows import Window, apart, windows_of

blueprint = Blueprint("locate", __name__)
DETECTED = 0.5
"""Least probability of an object, where none is given."""


@blueprint.post("/v1/locate")
def locate() -> Response:
    """What most likely is what was looked for, best first: objects of a detector, or else windows of the
    input that hardly overlap."""
    limits = context().settings.limits
    if is_form():
        body, (inputs, queries) = read_sides(LocateBody, "input", "query")
        for name, found in (("input", inputs), ("query", queries)):
            if len(found) != 1:
                raise expected("one part", "一个部分", len(found), name)
    else:
        body = validated(LocateBody, read_json())
        inputs = [parse_item(body.input, "input", limits)]
        queries = [parse_item(body.query, "query", limits)]
    using = served(body.model)
    able = using.embedder.description.capabilities
    if "detect" in able and "embed" not in able:
        return _detected(body, inputs, queries, using)
    return _compared(body, inputs, queries, using)


def _detected(body: LocateBody, inputs: list[ItemSpec], queries: list[ItemSpec], using: ModelApi) -> Response:
    """Objects whose label the query names."""
    words = decoded(queries)[0].parts
    if len(words) != 1 or not isinstance(words[0], Text):
        raise expected(
            "a text, for a detector", "检测模型的查询为文本", " + ".join(p.modality for p in words), "query"
        )
    name = words[0].text.strip().casefold()
    items = prepare(inputs, using.preprocessor)
    options = {"threshold": DETECTED if body.threshold is None else body.threshold}
    found = perform("detect", items, options, using.embedder).about["objects"]
    description = using.embedder.description
    named = [one for one in found if name in one[0].casefold() or one[0].casefold() in name]
    return reply(
        {
            "object": "list",
            "model": description.name,
            "data": [
                {"box": box, "label": label, "score": score}
                for label, score, box in named[: body.max_num_results]
            ],
            "usage": usage(items, description),
        }
    )


def _compared(body: LocateBody, inputs: list[ItemSpec], queries: list[ItemSpec], using: ModelApi) -> Response:
    """Windows that are like the query."""
    wanted = prepare(queries, using.preprocessor)
    windows = _windows(decoded(inputs)[0].parts)
    items = [
        *wanted,
        *in_threads(lambda window: using.preprocessor.prepare(item_of(window.part)), windows),
    ]
    vectors = vectors_of(items, using.embedder)
    description = using.embedder.description
    scale = calibration(description)
    left = Side.of(Embedded(items=wanted, vectors=vectors[:1]), queries, documents=False)
    right = Side(vectors=vectors[1:], kinds=[modality_of(item) for item in items[1:]])
    cosines = np.clip(vectors[:1].astype(np.float64) @ vectors[1:].T.astype(np.float64), -1.0, 1.0)
    scores = probabilities(left, right, cosines, scale)[0]
    least = body.threshold
    if least is None:
        least = scale.cutoff(left.kinds[0], right.kinds[0], len(windows))
    best = [n for n in apart(windows, scores, body.max_num_results) if scores[n] >= least]
    return reply(
        {
            "object": "list",
            "model": description.name,
            "data": [_found(windows[n], scores[n], cosines[0, n]) for n in best],
            "usage": usage(items, description),
        }
    )


def _windows(parts: tuple[Part, ...]) -> list[Window]:
    if len(parts) != 1:
        raise InvalidInput(
            f"expected one picture, sound or clip to look in, got {len(parts)} parts",
            f"只能在单个图片、音频或视频中定位，实际有 {len(parts)} 个部分",
            param="input",
        )
    try:
        return windows_of(parts[0])
    except ChiasmError as error:
        raise error.at("input") from None


def _found(window: Window, score: float, cosine: float) -> dict[str, Any]:
    where = {"box": window.box} if window.box is not None else {"span": window.span}
    return {**where, "score": float(score), "cosine": float(cosine)}
