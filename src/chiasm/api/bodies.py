"""Request bodies: bounded, strict JSON; bounded multipart forms; then validated by a schema."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import msgspec
from flask import g, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage

from chiasm.api.context import context, state
from chiasm.api.validation import invalid
from chiasm.errors import InvalidInput, TooLarge, UnsupportedMedia

MAX_DEPTH = 32
MAX_VALUES = 100_000  # in a JSON body; millions of tiny ones would hold up the whole process
FORM_PARTS_EXTRA = 64  # fields of a form besides the parts of its input
M = TypeVar("M", bound=BaseModel)
_BOM = b"\xef\xbb\xbf"
_STRING_OR_MARK = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)|[\[{,]', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Form:
    """A multipart form: values and files by field name, each in the order in which they came."""

    values: Mapping[str, list[str]]
    files: Mapping[str, list[FileStorage]]


def is_form() -> bool:
    """Whether the request's body is a multipart form."""
    return request.mimetype == "multipart/form-data"


def read_json() -> dict[str, Any]:
    """The body, a JSON object.

    Raises:
        InvalidInput: not an object, not UTF-8, not JSON (NaN and Infinity are not), or too deep.
        TooLarge: longer than ``limits.json_bytes``.
        UnsupportedMedia: announced as something else.
    """
    _check_type()
    value = parse_json(_read_bounded(context().settings.limits.json_bytes))
    if not isinstance(value, dict):
        raise InvalidInput(
            f"expected the body to be a JSON object, got {_json_name(value)}",
            f"请求体应为 JSON 对象，实际为 {_json_name(value)}",
            code="invalid_json",
        )
    return value


def read_optional_json() -> dict[str, Any]:
    """As :func:`read_json`; no body at all counts as ``{}``."""
    if request.content_length in {None, 0} and not request.mimetype:
        return {}
    if request.content_length == 0:
        return {}
    return read_json()


def read_lines(types: Sequence[str]) -> bytes:
    """The body, lines of JSON of one of these types; not parsed yet.

    Raises:
        TooLarge: longer than ``limits.json_bytes``.
        UnsupportedMedia: announced as something else.
    """
    _check_type(*types)
    return _read_bounded(context().settings.limits.json_bytes)


def parse_json(data: bytes) -> Any:
    """Strict JSON of bounded depth.

    Raises:
        InvalidInput: anything else.
        TooLarge: of more than :data:`MAX_VALUES` values.
    """
    _check_values(data)
    try:
        value = msgspec.json.decode(data.removeprefix(_BOM))
    except UnicodeDecodeError as error:
        raise _not_utf8(data) from error
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise _not_json(str(error), str(error)) from error
    _check_depth(value)
    return value


def validated(schema: type[M], data: Mapping[str, Any]) -> M:
    """``data`` as ``schema``.

    Raises:
        InvalidInput: the first thing that is wrong, by name.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise invalid(error) from None


def read_form() -> Form:
    """The multipart body; files are on disk, not in memory.

    Raises:
        InvalidInput: malformed.
        TooLarge: more than ``limits.body_bytes``, or too many parts.
        Overloaded: ``limits.uploads`` are in progress.
    """
    limits = context().settings.limits
    request.max_content_length = limits.body_bytes
    request.max_form_memory_size = 4 * limits.text_chars + 65_536
    request.max_form_parts = limits.parts + FORM_PARTS_EXTRA
    if request.content_length is not None and request.content_length > limits.body_bytes:
        raise body_too_large(limits.body_bytes, "limits.body_bytes")
    if "boundary" not in request.mimetype_params:
        raise InvalidInput(
            "expected multipart/form-data with a boundary",
            "multipart/form-data 缺少 boundary",
            param="Content-Type",
        )
    take_upload_slot()
    return Form(values=dict(request.form.lists()), files=dict(request.files.lists()))


def take_upload_slot() -> None:
    """Count the request as an upload until it ends."""
    if not g.get("upload_slot"):
        state().uploads.take()
        g.upload_slot = True


def give_upload_slot_back() -> None:
    """At the end of a request."""
    if g.pop("upload_slot", False):
        state().uploads.give_back()


def _check_type(*types: str) -> None:
    """Refuse what is compressed, and what is not of these types; without any, what is not JSON."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedMedia(
            f"expected a body without compression, got Content-Encoding: {encoding[:40]}",
            f"请求体不应压缩，实际 Content-Encoding 为 {encoding[:40]}",
            param="Content-Encoding",
        )
    right = request.mimetype in types
    if not types:
        right = request.mimetype == "application/json" or request.mimetype.endswith("+json")
    if not right:
        wanted, got = (types or ("application/json",))[0], request.mimetype[:80] or "none"
        raise UnsupportedMedia(
            f"expected Content-Type: {wanted}, got {got}",
            f"Content-Type 应为 {wanted}，实际为 {got}",
            param="Content-Type",
        )


def _read_bounded(limit: int) -> bytes:
    if request.content_length is not None and request.content_length > limit:
        raise body_too_large(limit, "limits.json_bytes")
    request.max_content_length = limit + 1  # a body without a length is cut there in silence
    data = request.get_data(cache=False)
    if len(data) > limit:
        raise body_too_large(limit, "limits.json_bytes")
    return data


def body_too_large(limit: int, setting: str) -> TooLarge:
    """What a body of more than ``limit`` bytes gets."""
    return TooLarge(
        f"expected a body of at most {limit} bytes ({setting}), got a longer one",
        f"请求体不得超过 {limit} 字节（{setting}），实际更长",
    )


def _check_values(data: bytes) -> None:
    """Before anything is built: the commas and brackets outside strings tell how many values there are."""
    if sum(map(data.count, (b",", b"[", b"{"))) <= MAX_VALUES:
        return
    marks = (found for found in _STRING_OR_MARK.finditer(data) if data[found.start()] != ord(b'"'))
    if next(islice(marks, MAX_VALUES, None), None) is not None:
        raise TooLarge(
            f"expected JSON of at most {MAX_VALUES} values, got more",
            f"JSON 最多包含 {MAX_VALUES} 个值，实际更多",
        )


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> InvalidInput:
    return InvalidInput(
        f"expected JSON nested at most {MAX_DEPTH} deep, got deeper",
        f"JSON 嵌套不得超过 {MAX_DEPTH} 层",
        code="invalid_json",
    )


def _not_utf8(data: bytes) -> InvalidInput:
    """The decoder counts from the string that it is in; the caller's place is in the whole body."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        where = f"invalid UTF-8: {error.reason} at byte {error.start}"
        return _not_json(where, f"第 {error.start} 字节不是有效的 UTF-8")
    return _not_json("invalid UTF-8", "含有无效的 UTF-8")


def _not_json(en: str, zh: str) -> InvalidInput:
    return InvalidInput(f"expected valid JSON, got: {en}", f"应为有效的 JSON：{zh}", code="invalid_json")


def _json_name(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
