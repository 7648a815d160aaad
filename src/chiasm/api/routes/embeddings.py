"""``POST /v1/embeddings``."""

import base64
import json
from typing import Any

import numpy as np
from flask import Blueprint, Response
from numpy.typing import NDArray

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.errors import language
from chiasm.api.forms import read_items
from chiasm.api.model import Embedded, describe, embed, truncation, usage
from chiasm.api.parts import ItemSpec, parse_inputs, parse_messages
from chiasm.api.schemas.tasks import EmbeddingsBody
from chiasm.api.validation import missing
from chiasm.errors import InvalidInput
from chiasm.preprocess import ModelDescription

blueprint = Blueprint("embeddings", __name__)
MATRYOSHKA = "matryoshka"  # capability of a model that was trained for shortened vectors


@blueprint.post("/v1/embeddings")
def create_embeddings() -> Response:
    """A unit vector for each input, in order."""
    if is_form():
        body, specs = read_items(EmbeddingsBody)
    else:
        body = validated(EmbeddingsBody, read_json())
        specs = _specs(body)
    description = describe(body.model)
    width = _width(body.dimensions, description)
    embedded = embed(specs, body.model, whole=not body.truncate)
    vectors = shorten(embedded.vectors, width)
    data = [
        {
            "object": "embedding",
            "index": i,
            "embedding": _encode(vector, body.encoding_format),
            **_cut(embedded, i),
        }
        for i, vector in enumerate(vectors)
    ]
    answer: dict[str, Any] = {
        "object": "list",
        "model": description.name,
        "data": data,
        "usage": usage(embedded.items, description),
    }
    warnings = _warnings(width, description, embedded)
    if warnings:
        answer["warnings"] = warnings
    return reply(answer)


def shorten(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The first ``width`` components, as unit vectors again."""
    if width == vectors.shape[1]:
        return vectors
    cut = vectors[:, :width].astype(np.float64)
    norms = np.linalg.norm(cut, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (cut / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit


def _specs(body: EmbeddingsBody) -> list[ItemSpec]:
    limits = context().settings.limits
    if body.messages is not None and body.input is not None:
        raise InvalidInput(
            "expected either input or messages, got both", "input 与 messages 只能给一个", param="messages"
        )
    if body.messages is not None:
        return parse_messages(body.messages, "messages", limits)
    if body.input is None:
        raise missing("input")
    return parse_inputs(body.input, "input", limits)


def _width(dimensions: int | None, description: ModelDescription) -> int:
    if dimensions is not None and dimensions > description.dimensions:
        raise InvalidInput(
            f"expected at most {description.dimensions} (the model's own), got {dimensions}",
            f"不得超过模型的 {description.dimensions} 维，实际为 {dimensions}",
            param="dimensions",
        )
    return dimensions or description.dimensions


def _encode(vector: NDArray[np.float32], encoding: str) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    listed: list[float] = vector.tolist()
    return listed


def _cut(embedded: Embedded, index: int) -> dict[str, Any]:
    cut = truncation(embedded.items[index])
    return {"truncated": cut} if cut else {}


def _warnings(width: int, description: ModelDescription, embedded: Embedded) -> list[str]:
    chinese = language() == "zh"
    warnings = []
    if width < description.dimensions and MATRYOSHKA not in description.capabilities:
        warnings.append(
            f"{description.name} 未针对缩短的向量训练：取前 {width} 维会降低质量"
            if chinese
            else f"{description.name} was not trained for short vectors: {width} dimensions lose quality"
        )
    cut = {i: truncation(item) for i, item in enumerate(embedded.items)}
    shown = {i: amounts for i, amounts in cut.items() if amounts}
    if shown:
        places = json.dumps(shown)
        warnings.append(
            f"部分输入过长，已截断（序号与截去的量）：{places}"
            if chinese
            else f"inputs were longer than the model reads and were cut (index, amount cut off): {places}"
        )
    return warnings
