"""``/v1/vector_stores``."""

from typing import Any, Literal

from pydantic import Field

from chiasm.api.schemas.base import Body, Cursor, ModalityName, ModelBody, Threshold
from chiasm.api.schemas.content import Filter, Items
from chiasm.api.schemas.files import UploadForm

Attributes = dict[str, Any]  # checked by chiasm.library.attributes


class AutoChunking(Body):
    """The only way of cutting files that there is: chiasm's own."""

    type: Literal["auto"]


class CreateStoreBody(Body):
    """OpenAI's; stores do not expire. ``model`` makes the vectors; the first that is served without one."""

    model: str | None = None

    name: str | None = Field(default=None, max_length=256)
    description: str | None = None
    file_ids: list[str] = Field(default_factory=list, max_length=500)
    metadata: Attributes | None = None
    chunking_strategy: AutoChunking | None = None
    expires_after: None = None


class UpdateStoreBody(Body):
    """What is left out stays."""

    name: str | None = Field(default=None, max_length=256)
    metadata: Attributes | None = None
    expires_after: None = None


class ReembedBody(Body):
    """``model``: whose vectors the store is to have; the first that is served without one."""

    model: str | None = None


class AttachBody(Body):
    """Put an uploaded file into a store."""

    file_id: str = Field(min_length=1)
    attributes: Attributes | None = None
    chunking_strategy: AutoChunking | None = None


class AttachForm(UploadForm):
    """The text fields of an upload that goes into a store at once; ``attributes`` as JSON."""

    attributes: Attributes | None = None


class BatchFile(AttachBody):
    """A file with attributes of its own."""


class FileBatchBody(Body):
    """Either ``file_ids``, with the same ``attributes`` for all, or ``files``."""

    file_ids: list[str] | None = Field(default=None, min_length=1, max_length=2000)
    files: list[BatchFile] | None = Field(default=None, min_length=1, max_length=2000)
    attributes: Attributes | None = None
    chunking_strategy: AutoChunking | None = None


class AttributesBody(Body):
    """Replace a file's attributes."""

    attributes: Attributes | None


class FolderBody(Body):
    """Index a folder of the server's machine; the files stay where they are."""

    path: str = Field(min_length=1, max_length=4096)


class RankingOptions(Body):
    """``score_threshold``: least probability of relevance; 0 turns the cut-off off."""

    ranker: str | None = None
    score_threshold: Threshold | None = None


class SearchBody(ModelBody):
    """Exactly one of ``query``, ``vector`` and ``like``; ``page`` is the ``next_page`` of the same search."""

    query: Items | None = None
    negative: Items | None = None
    weights: list[float] | None = Field(default=None, min_length=1)
    diversity: Threshold = 0.0
    page: str | None = Field(default=None, min_length=1, max_length=200)
    group_duplicates: bool = True
    vector: list[float] | None = Field(default=None, min_length=1, max_length=65_536)
    like: str | None = Field(default=None, min_length=1)
    max_num_results: int = Field(default=10, ge=1, le=50)
    modalities: list[ModalityName] | None = Field(default=None, min_length=1)
    filters: Filter | None = None
    ranking_options: RankingOptions | None = None
    rewrite_query: bool = False


class EntriesCursor(Cursor):
    """``filter``: only files of this status."""

    filter: Literal["in_progress", "completed", "failed", "cancelled"] | None = None
