"""What the library's server answers to, and how values travel."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from chiasm.errors import InvalidInput
from chiasm.library.items import NewItem

T = TypeVar("T")

LIBRARY_METHODS = (
    "create_store",
    "ensure_store",
    "get_store",
    "list_stores",
    "update_store",
    "delete_store",
    "upload_file",
    "get_file",
    "uploaded_files",
    "delete_file",
    "path_of",
    "add_file",
    "attach_files",
    "entry",
    "entries_of",
    "list_files",
    "set_attributes",
    "segments",
    "remove_file",
    "put_items",
    "search",
    "search_like",
)
JOB_METHODS = ("submit", "get", "list_jobs", "cancel", "delete")
JOB_PREFIX = "jobs."
FIGURES = "figures"
# Arguments that travel as arrays, by method: vectors, or the bytes of a file.
ARRAY_ARGUMENTS: Mapping[str, str] = {
    "search": "vectors",
    "put_items": "vectors",
    "upload_file": "source",
    "add_file": "source",
}

RECORD_ARGUMENTS: Mapping[str, tuple[str, Any]] = {"put_items": ("items", list[NewItem])}


def pack(value: object) -> dict[str, Any]:
    """A result as plain data."""
    return {"result": msgspec.to_builtins(value, enc_hook=str)}


def unpack(payload: Mapping[str, Any], kind: type[T]) -> T:
    """A result again.

    Raises:
        InvalidInput: the other side is of another version.
    """
    try:
        return msgspec.convert(payload.get("result"), kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"expected an answer of this version of chiasm, got: {error}",
            f"应为同一版本 chiasm 的回答，实际为：{error}",
        ) from error
