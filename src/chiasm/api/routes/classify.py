"""``POST /v1/classify``: zero-shot, the labels come with the request."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flask import Blueprint, Response
from numpy.typing import NDArray

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.forms import read_items
from chiasm.api.model import Embedded, describe, embed, truncation, usage
from chiasm.api.parts import ItemSpec, check_parts, parse_inputs, parse_item, text_part
from chiasm.api.relating import Side, calibration, modality_of, probabilities
from chiasm.api.schemas.tasks import ClassifyBody
from chiasm.api.validation import expected
from chiasm.errors import InvalidInput
from chiasm.preprocess import PreparedItem
from chiasm.settings import Limits

blueprint = Blueprint("classify", __name__)
PLACE = "{}"  # where a template takes the label
MAX_TEMPLATES = 32


@blueprint.post("/v1/classify")
def classify() -> Response:
    """How well each label fits each input."""
    limits = context().settings.limits
    if is_form():
        body, inputs = read_items(ClassifyBody)
    else:
        body = validated(ClassifyBody, read_json())
        inputs = parse_inputs(body.input, "input", limits)
    if len(body.labels) < 2 and not body.multi_label:
        raise InvalidInput(
            "expected at least 2 labels to choose from (or multi_label), got 1",
            "至少需要 2 个候选标签（或使用 multi_label），实际为 1 个",
            param="labels",
        )
    groups = _label_specs(body, limits)
    prompts = [spec for group in groups for spec in group]
    check_parts(sum(len(spec.parts) for spec in (*inputs, *prompts)), "labels", limits)
    description = describe(body.model)
    embedded = embed([*inputs, *prompts], body.model)
    vectors, items = embedded.vectors[: len(inputs)], embedded.items[: len(inputs)]
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    labels = _means(embedded.vectors[len(inputs) :], starts)
    if body.multi_label:
        kinds = [modality_of(embedded.items[len(inputs) + start]) for start in starts]
        found = Side.of(Embedded(items=items, vectors=vectors), inputs, documents=True)
        cosines = labels.astype(np.float64) @ vectors.T.astype(np.float64)
        scores = probabilities(Side(vectors=labels, kinds=kinds), found, cosines, calibration(description)).T
    else:
        scores = exclusive(vectors, labels, description.logit_scale)
    names = [label if isinstance(label, str) else None for label in body.labels]
    data = [_result(i, row, names, items[i]) for i, row in enumerate(scores)]
    return reply(
        {
            "object": "list",
            "model": description.name,
            "data": data,
            "usage": usage(embedded.items, description),
        }
    )


def exclusive(
    vectors: NDArray[np.float32], labels: NDArray[np.float32], logit_scale: float
) -> NDArray[np.float64]:
    """Softmax over the labels (Radford et al. 2021, section 3.1.2): rows sum to 1, ``[inputs, labels]``."""
    logits = logit_scale * (vectors.astype(np.float64) @ labels.T.astype(np.float64))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scores


def _label_specs(body: ClassifyBody, limits: Limits) -> list[list[ItemSpec]]:
    """For each label the items whose mean stands for it: one for each template, or the part itself."""
    templates = _templates(body.template)
    groups = []
    for index, label in enumerate(body.labels):
        param = f"labels[{index}]"
        if isinstance(label, str):
            text_part(label, param, limits)
            texts = [template.replace(PLACE, label) for template in templates]
            groups.append([ItemSpec(param=param, parts=(text_part(text, param, limits),)) for text in texts])
        else:
            groups.append([parse_item(label, param, limits)])
    return groups


def _templates(value: Any) -> list[str]:
    if value is None:
        return [PLACE]
    templates = value if isinstance(value, list) else [value]
    if not 1 <= len(templates) <= MAX_TEMPLATES:
        raise expected(
            f"1 to {MAX_TEMPLATES} templates", f"1 至 {MAX_TEMPLATES} 个模板", len(templates), "template"
        )
    for index, template in enumerate(templates):
        if not isinstance(template, str) or PLACE not in template:
            where = f"template[{index}]" if isinstance(value, list) else "template"
            raise expected(
                "a text with {} where the label goes", "含 {}（标签所在处）的文本", template, where
            )
    return templates


def _means(vectors: NDArray[np.float32], starts: NDArray[np.intp]) -> NDArray[np.float32]:
    """Unit vectors of the means of the groups that begin at ``starts``."""
    sums = np.add.reduceat(vectors.astype(np.float64), starts, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (sums / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit


def _result(
    index: int, scores: NDArray[np.float64], names: Sequence[str | None], item: PreparedItem
) -> dict[str, Any]:
    order = np.argsort(-scores, kind="stable")
    ranked = [{"label": names[i], "label_index": int(i), "score": float(scores[i])} for i in order]
    cut = truncation(item)
    return {
        "index": index,
        "label": ranked[0]["label"],
        "label_index": ranked[0]["label_index"],
        "scores": ranked,
        **({"truncated": cut} if cut else {}),
    }
