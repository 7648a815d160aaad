"""``/v1/files`` and ``/v1/jobs``."""

from typing import Literal

from pydantic import Field

from chiasm.api.schemas.base import Cursor, QueryString

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
ListedPurpose = Literal[Purpose, "batch_output"]


class FilesCursor(Cursor):
    """OpenAI lists up to 10000 files a page; here it is up to 1000."""

    limit: int = Field(default=100, ge=1, le=1000)
    purpose: ListedPurpose | None = None


class ThumbnailQuery(QueryString):
    """``at``: seconds into a sound or video; ``page``: of a PDF; ``side``: the longer side in pixels."""

    at: float | None = Field(default=None, ge=0)
    page: int | None = Field(default=None, ge=1)
    side: int = Field(default=320, ge=32, le=1024)


class UploadForm(QueryString):
    """The text fields of an upload; the file itself is the field ``file``."""

    purpose: Purpose = "user_data"


class JobsCursor(QueryString):
    """Newest first; ``after`` is the last id of the page before."""

    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = None
