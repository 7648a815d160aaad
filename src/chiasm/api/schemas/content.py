"""What content may look like, described for people; :mod:`chiasm.api.parts` reads it."""

from typing import Annotated, Any

from pydantic import WithJsonSchema

_REFERENCE = "#/components/schemas/"


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"{_REFERENCE}{name}"}


def _address(kind: str) -> dict[str, Any]:
    properties = {"url": {"type": "string", "description": "http(s)://… or data:…"}}
    if kind == "image_url":
        properties["detail"] = {"type": "string", "description": "accepted, without effect"}
    return _typed(kind, {"type": "object", "required": ["url"], "properties": properties})


def _typed(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", kind],
        "properties": {"type": {"const": kind}, kind: value},
        "additionalProperties": False,
    }


def _short(kind: str) -> dict[str, Any]:
    says = "" if kind == "text" else "an http(s) or data: address, or base64"
    return {
        "type": "object",
        "required": [kind],
        "properties": {kind: {"type": "string", "minLength": 1, "description": says}},
        "additionalProperties": False,
    }


SCHEMAS: dict[str, dict[str, Any]] = {
    "Part": {
        "description": "One piece of content: a text, a picture, a sound, a video, or an uploaded file.",
        "anyOf": [
            {"type": "string", "minLength": 1},
            *(_short(kind) for kind in ("text", "image", "audio", "video")),
            _typed("text", {"type": "string", "minLength": 1}),
            *(_address(kind) for kind in ("image_url", "audio_url", "video_url")),
            _typed(
                "input_audio",
                {
                    "type": "object",
                    "required": ["data"],
                    "properties": {"data": {"type": "string"}, "format": {"type": "string"}},
                },
            ),
            _typed(
                "file",
                {"type": "object", "required": ["file_id"], "properties": {"file_id": {"type": "string"}}},
            ),
        ],
    },
    "Item": {
        "description": "A part, or several that are fused into one vector.",
        "anyOf": [
            _reference("Part"),
            {
                "type": "object",
                "required": ["content"],
                "properties": {
                    "content": {
                        "anyOf": [
                            {"type": "string", "minLength": 1},
                            {"type": "array", "items": _reference("Part"), "minItems": 1},
                        ]
                    }
                },
                "additionalProperties": False,
            },
        ],
    },
    "Items": {
        "description": "An item, or a list of items.",
        "anyOf": [_reference("Item"), {"type": "array", "items": _reference("Item"), "minItems": 1}],
    },
    "Messages": {
        "description": "Chat messages, fused into one item.",
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {
                "role": {"enum": ["system", "developer", "user", "assistant"]},
                "name": {"type": "string"},
                "content": {
                    "anyOf": [
                        {"type": "string", "minLength": 1},
                        {"type": "array", "items": _reference("Part"), "minItems": 1},
                    ]
                },
            },
            "additionalProperties": False,
        },
    },
    "Filter": {
        "description": "A condition on attributes.",
        "anyOf": [
            {
                "type": "object",
                "required": ["type", "key", "value"],
                "properties": {
                    "type": {"enum": ["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]},
                    "key": {"type": "string", "minLength": 1, "maxLength": 64},
                    "value": {},
                },
            },
            {
                "type": "object",
                "required": ["type", "filters"],
                "properties": {
                    "type": {"enum": ["and", "or"]},
                    "filters": {"type": "array", "items": _reference("Filter"), "minItems": 1},
                },
            },
        ],
    },
}


def _described(name: str) -> WithJsonSchema:
    # pydantic resolves a bare reference against its own definitions
    return WithJsonSchema({"allOf": [_reference(name)]})


Part = Annotated[Any, _described("Part")]
Item = Annotated[Any, _described("Item")]
Items = Annotated[Any, _described("Items")]
Messages = Annotated[Any, _described("Messages")]
Templates = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 32},
            ]
        }
    ),
]
Filter = Annotated[dict[str, Any], _described("Filter")]
