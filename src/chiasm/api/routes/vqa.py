"""``POST /v1/vqa``: answers to a question about a picture, by a model that reads both together."""

from flask import Blueprint, Response

from chiasm.api.answers import reply
from chiasm.api.bodies import is_form, read_json, validated
from chiasm.api.context import context
from chiasm.api.forms import read_sides
from chiasm.api.inputs import decoded, in_threads
from chiasm.api.model import perform, served_for, usage
from chiasm.api.parts import parse_item
from chiasm.api.schemas.tasks import VqaBody
from chiasm.api.validation import expected
from chiasm.errors import ChiasmError
from chiasm.modality import Image, Item, Text
from chiasm.preprocess import PreparedItem

blueprint = Blueprint("vqa", __name__)


@blueprint.post("/v1/vqa")
def answer() -> Response:
    """The likeliest answers, best first."""
    limits = context().settings.limits
    if is_form():
        body, (inputs, questions) = read_sides(VqaBody, "input", "question")
        for name, found in (("input", inputs), ("question", questions)):
            if len(found) != 1:
                raise expected("one part", "一个部分", len(found), name)
    else:
        body = validated(VqaBody, read_json())
        inputs = [parse_item(body.input, "input", limits)]
        questions = [parse_item(body.question, "question", limits)]
    using = served_for("answer", body.model)
    given = dict(zip(("input", "question"), decoded([*inputs, *questions]), strict=True))
    for name, kind, en, zh in (
        ("input", Image, "one picture to ask about", "一张被提问的图片"),
        ("question", Text, "the question as one text", "一段文本形式的问题"),
    ):
        parts = given[name].parts
        if len(parts) != 1 or not isinstance(parts[0], kind):
            raise expected(en, zh, " + ".join(part.modality for part in parts), name)

    def prepare(named: tuple[str, Item]) -> PreparedItem:
        try:
            return using.preprocessor.prepare(named[1])
        except ChiasmError as error:
            raise error.at(named[0]) from None

    items = in_threads(prepare, list(given.items()))
    answers = perform("answer", items, {"top_k": body.top_k}, using.embedder).about["answers"]
    description = using.embedder.description
    return reply(
        {
            "object": "answers",
            "model": description.name,
            "answers": [{"answer": text, "score": score} for text, score in answers],
            "usage": usage(items, description),
        }
    )
