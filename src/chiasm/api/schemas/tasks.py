"""``/v1/embeddings``, ``/v1/classify``, ``/v1/similarity``, ``/v1/rerank`` and ``/v1/vqa``."""

from typing import Literal

from pydantic import Field

from chiasm.api.schemas.base import ModelBody
from chiasm.api.schemas.content import Item, Items, Messages, Templates


class EmbeddingsBody(ModelBody):
    """Exactly one of ``input`` and ``messages``; parts are read by :mod:`chiasm.api.parts`. What is longer
    than the model reads is cut, or without ``truncate`` refused."""

    input: Items | None = None
    messages: Messages | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    truncate: bool = True


class ClassifyBody(ModelBody):
    """``template`` is a text with ``{}`` where the label goes, or several whose vectors are averaged."""

    input: Items
    labels: list[Item] = Field(min_length=1)
    template: Templates | None = None
    multi_label: bool = False


class SimilarityBody(ModelBody):
    """Parts or mixed items on both sides."""

    queries: Items
    documents: Items


class RerankBody(ModelBody):
    """Cohere's and Jina's; what cuts documents into chunks there is accepted, without effect."""

    query: Item
    documents: Items
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False
    max_chunks_per_doc: int | None = None
    max_tokens_per_doc: int | None = None
    truncation: bool | None = None


class VqaBody(ModelBody):
    """A question about a picture."""

    input: Item
    question: Item
    top_k: int = Field(default=5, ge=1, le=100)
