"""Multipart forms as requests: ``curl -F image=@cat.jpg …`` on every route that takes media."""

import json
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from chiasm.api.bodies import Form, parse_json, read_form, validated
from chiasm.api.context import context
from chiasm.api.parts import SHORT, ItemSpec, parse_form_items, parse_form_side
from chiasm.api.validation import expected, unknown
from chiasm.errors import InvalidInput

M = TypeVar("M", bound=BaseModel)
FILE_FIELDS = ("image", "audio", "video", "file")
TEXT_FIELDS = ("input", "query", *SHORT)
FUSE = "fuse"  # "true": all parts are one mixed item


def read_items(schema: type[M], *, fuse: bool = False, optional: bool = False) -> tuple[M, list[ItemSpec]]:
    """The body's form: its parts as items, its other fields as ``schema``.

    Args:
        fuse: all parts are one mixed item, whatever the form says.
        optional: a form without parts is allowed.

    Raises:
        InvalidInput: an unknown field, or one that is wrong.
    """
    form = read_form()
    for name in form.files:
        if name not in FILE_FIELDS:
            raise unknown(name[:200], ", ".join(FILE_FIELDS))
    if not fuse and FUSE in form.values:
        fuse = _truth(form.values[FUSE][-1], FUSE)
    parts = {name: given for name, given in form.values.items() if name in TEXT_FIELDS}
    others = {name: given for name, given in form.values.items() if name not in {*TEXT_FIELDS, FUSE}}
    required = {"input": True} if "input" in schema.model_fields else {}  # the parts are its value
    body = validated(schema, {**required, **form_fields(schema, others)})
    if optional and not parts and not form.files:
        return body, []
    return body, parse_form_items(parts, form.files, context().settings.limits, fuse=fuse)


def read_sides(schema: type[M], *sides: str) -> tuple[M, list[list[ItemSpec]]]:
    """The body's form where several fields hold parts: texts, then files, of each of ``sides``.

    Raises:
        InvalidInput: an unknown field, one that is wrong, or a side without any part.
    """
    form = read_form()
    for name in form.files:
        if name not in sides:
            raise unknown(name[:200], ", ".join(sides))
    others = {name: given for name, given in form.values.items() if name not in sides}
    body = validated(schema, {**dict.fromkeys(sides, True), **form_fields(schema, others)})
    limits = context().settings.limits
    parts = [
        parse_form_side(side, form.values.get(side, ()), form.files.get(side, ()), limits) for side in sides
    ]
    return body, parts


def form_fields(schema: type[BaseModel], values: Mapping[str, list[str]]) -> dict[str, Any]:
    """Text fields as the types that ``schema`` has for them; objects and lists may be JSON.

    Raises:
        InvalidInput: a field that cannot be read, or that comes twice.
    """
    known = schema.model_fields
    data: dict[str, Any] = {}
    for name, given in values.items():
        kinds = _kinds(known[name].annotation) if name in known else {str}
        if list in kinds:
            data[name] = _list(given)
        elif len(given) > 1:
            raise InvalidInput(
                "expected this field once, got it several times", "此字段只能出现一次", param=name
            )
        else:
            data[name] = _value(given[0], kinds, name)
    return data


def single_file(form: Form, name: str) -> Any:
    """The one uploaded file of this field.

    Raises:
        InvalidInput: none, or several.
    """
    found = form.files.get(name, [])
    if len(found) != 1:
        raise expected("one file (multipart/form-data)", "一个文件（multipart/form-data）", len(found), name)
    return found[0]


def _kinds(annotation: Any) -> set[Any]:
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return {kind for one in get_args(annotation) for kind in _kinds(one)} - {NoneType}
    return {get_origin(annotation) or annotation}


def _value(text: str, kinds: set[Any], name: str) -> Any:
    if bool in kinds:
        return _truth(text, name)
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                wanted = ("a whole number", "整数") if kind is int else ("a number", "数字")
                raise expected(*wanted, text, name) from None
    if dict in kinds or any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds):
        return _json(text, name)
    return text


def _list(given: list[str]) -> list[Any]:
    if len(given) == 1 and given[0].lstrip().startswith("["):
        try:
            found = json.loads(given[0])
        except (ValueError, RecursionError):
            return list(given)
        return found if isinstance(found, list) else list(given)
    return list(given)


def _json(text: str, name: str) -> Any:
    try:
        return parse_json(text.encode())
    except InvalidInput as error:
        raise error.at(name) from None


def _truth(text: str, name: str) -> bool:
    if text not in {"true", "false"}:
        raise expected("true or false", "true 或 false", text, name)
    return text == "true"
