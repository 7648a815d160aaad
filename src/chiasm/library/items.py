"""Items: things with ids, attributes and vectors of their owner's choosing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput
from chiasm.library.query import MODALITIES
from chiasm.stores.records import Attribute

MAX_ID_CHARS = 256
FILE_PREFIX = "file-"  # of ids that are given here: an item's own could hide a file
Existing = Literal["replace", "keep", "refuse"]
PutStatus = Literal["created", "replaced", "kept", "conflict"]


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """An item about to be kept.

    Attributes:
        id: of its owner's choosing; ``None`` for a new one.
        snippet: its text, if it has any.
        path: of a file whose content is copied in, to be shown with hits.
        mime: of that content.
    """

    id: str | None = None
    modality: str = "text"
    attributes: dict[str, Attribute] = field(default_factory=dict)
    snippet: str | None = None
    name: str | None = None
    path: str | None = None
    mime: str | None = None


@dataclass(frozen=True, kw_only=True)
class PutItem:
    """What became of one."""

    id: str
    status: PutStatus


def checked_id(value: Any, param: str) -> str:
    """An item's id: 1 to 256 printable characters without ``/``, not one that looks like a file's.

    Raises:
        InvalidInput: anything else.
    """
    good = isinstance(value, str) and 1 <= len(value) <= MAX_ID_CHARS and value.isprintable()
    if not good or "/" in value or value.startswith(FILE_PREFIX):
        raise InvalidInput(
            f"expected an id of 1 to {MAX_ID_CHARS} printable characters without /, not beginning with "
            f"{FILE_PREFIX}, got {value!r:.80}",
            f"编号应为 1 至 {MAX_ID_CHARS} 个可打印字符，不含 /，不以 {FILE_PREFIX} 开头，"
            f"实际为 {value!r:.80}",
            param=param,
        )
    return str(value)


def unit_rows(vectors: Any, count: int) -> NDArray[np.float32]:
    """[count, d] vectors of any length but 0, as unit vectors.

    Raises:
        InvalidInput: they are not that.
    """
    rows = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    if rows.ndim != 2 or len(rows) != count or not np.isfinite(norms).all() or not (norms > 0).all():
        raise InvalidInput(
            f"expected {count} finite vectors other than 0", f"应为 {count} 个非零的有限向量", param="vector"
        )
    unit: NDArray[np.float32] = rows / norms
    return unit


def check_items(items: Sequence[NewItem]) -> None:
    """Refuse a modality that does not exist, and an id that comes twice."""
    ids = [item.id for item in items if item.id is not None]
    if len(set(ids)) < len(ids):
        raise InvalidInput("expected each id once", "每个编号只能出现一次", param="id")
    for item in items:
        if item.modality not in MODALITIES:
            raise InvalidInput(
                f"expected one of {', '.join(MODALITIES)}, got {item.modality!r}",
                f"应为 {'、'.join(MODALITIES)} 之一，实际为 {item.modality!r}",
                param="modality",
            )
