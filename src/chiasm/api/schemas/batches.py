"""``/v1/batches``."""

from typing import Any, Literal

from pydantic import Field

from chiasm.api.schemas.base import Body

Endpoint = Literal["/v1/embeddings", "/v1/classify", "/v1/similarity", "/v1/rerank"]


class BatchBody(Body):
    """OpenAI's; a batch here has no deadline, so that every window is kept."""

    input_file_id: str = Field(min_length=1)
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: dict[str, Any] | None = None
