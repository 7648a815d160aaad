"""What all requests share."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Threshold = Annotated[float, Field(ge=0, le=1)]
ModalityName = Literal["text", "image", "audio", "video", "mixed"]


class Body(BaseModel):
    """A JSON body: no field is guessed, none is converted."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ModelBody(Body):
    """A request to a model. ``user`` and the like are OpenAI's; they change nothing here."""

    model: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None


class QueryString(BaseModel):
    """A query string: values are text, so numbers are read from it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Cursor(QueryString):
    """Which page of a list; ``after`` and ``before`` are ids."""

    limit: int = Field(default=20, ge=1, le=100)
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    before: str | None = None
