"""``/v1/explain`` and ``/v1/locate``."""

from typing import Literal

from pydantic import Field

from chiasm.api.schemas.base import ModelBody, Threshold
from chiasm.api.schemas.content import Item, Items

MethodName = Literal["contribution", "relevance", "rollout", "attention", "gradient"]


class ExplainBody(ModelBody):
    """What brought ``input`` and ``target`` together: one text, picture, sound or clip each. ``others`` are
    what the target is told apart from; ``layer`` and ``head`` are of ``attention``; ``start`` says which
    stretch of a stored recording or video is meant, in seconds."""

    input: Item
    target: Item
    others: Items | None = None
    method: MethodName = "contribution"
    layer: int | None = Field(default=None, ge=0)
    head: int | None = Field(default=None, ge=0)
    start: float | None = Field(default=None, ge=0)


class LocateBody(ModelBody):
    """Where in a picture, or when in a sound or clip, is what the query says: a text, a voice, any part.
    Without a threshold the model's own cut-off applies; 0 shows all."""

    input: Item
    query: Item
    threshold: Threshold | None = None
    max_num_results: int = Field(default=5, ge=1, le=50)
