"""``/v1/vector_stores/{id}/items``."""

from typing import Any, Literal

from pydantic import Field

from chiasm.api.schemas.base import Body, Cursor, ModalityName, QueryString
from chiasm.api.schemas.content import Part


class ItemBody(Body):
    """Exactly one of ``content`` (a part, or a list of parts that are fused) and ``vector``.

    ``modality`` says what a vector is of.
    """

    id: str | None = None
    content: Part | list[Part] | None = None
    vector: list[float] | None = Field(default=None, min_length=1, max_length=65_536)
    modality: ModalityName | None = None
    attributes: dict[str, Any] | None = None
    name: str | None = Field(default=None, min_length=1, max_length=255)


class BulkQuery(QueryString):
    """``existing``: what happens to items that are there; ``first_line``: those before are passed over."""

    existing: Literal["replace", "keep", "refuse"] = "replace"
    first_line: int = Field(default=1, ge=1)


class ItemsCursor(Cursor):
    """As every list."""

    limit: int = Field(default=20, ge=1, le=1000)
