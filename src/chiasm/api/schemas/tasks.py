"""``/v1/embeddings`` and ``/v1/classify``."""

from typing import Any, Literal

from pydantic import Field

from chiasm.api.schemas.base import ModelBody


class EmbeddingsBody(ModelBody):
    """Exactly one of ``input`` and ``messages``; parts are read by :mod:`chiasm.api.parts`."""

    input: Any = None
    messages: Any = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)


class ClassifyBody(ModelBody):
    """``template`` is a text with ``{}`` where the label goes, or several whose vectors are averaged."""

    input: Any
    labels: list[Any] = Field(min_length=1)
    template: Any = None
    multi_label: bool = False
