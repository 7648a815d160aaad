"""The contract: what each route takes, and the OpenAPI 3.1 document that is made of it.

The document's schemas are those of the types that validate the requests, and its words are the routes' own.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from chiasm.api.forms import FILE_FIELDS, FUSE
from chiasm.api.parts import FORM_TEXTS
from chiasm.api.schemas import batches, explain, files, items, models, stores, tasks
from chiasm.api.schemas.base import Cursor
from chiasm.api.schemas.content import SCHEMAS

REFERENCE = "#/components/schemas/{model}"
JSON, FORM, NDJSON = "application/json", "multipart/form-data", "application/x-ndjson"
PARTS = (*FORM_TEXTS, *FILE_FIELDS)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A route and a method.

    Attributes:
        tag: the chapter that it belongs to.
        body: of its JSON; a multipart form has the same fields.
        query: of its query string.
        parts: fields of its form that take content, texts and files alike; none: it takes no form.
        optional: whether the body may be left out.
        lines: whether many bodies may come as NDJSON.
        answer: what it answers with, if not JSON. also: what it gives if asked for it by ``Accept``.
        status: of its success.
    """

    tag: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    parts: Sequence[str] = ()
    optional: bool = False
    lines: bool = False
    answer: str = JSON
    also: Sequence[str] = ()
    status: int = 200


_STORE = "/v1/vector_stores/<store_id>"
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/healthz"): Operation(tag="Health"),
    ("GET", "/readyz"): Operation(tag="Health"),
    ("GET", "/metrics"): Operation(tag="Health", answer="text/plain"),
    ("GET", "/openapi.json"): Operation(tag="Health"),
    ("GET", "/docs"): Operation(tag="Health", answer="text/html"),
    ("POST", "/v1/session"): Operation(tag="Keys"),
    ("DELETE", "/v1/session"): Operation(tag="Keys"),
    ("GET", "/v1/models"): Operation(tag="Model"),
    ("POST", "/v1/models"): Operation(tag="Model", body=models.AddModelBody),
    ("GET", "/v1/model_offers"): Operation(tag="Model", query=models.OfferQuery),
    ("GET", "/v1/models/<name>"): Operation(tag="Model"),
    ("DELETE", "/v1/models/<name>"): Operation(tag="Model"),
    ("POST", "/v1/embeddings"): Operation(tag="Model", body=tasks.EmbeddingsBody, parts=PARTS),
    ("POST", "/v1/classify"): Operation(tag="Model", body=tasks.ClassifyBody, parts=PARTS),
    ("POST", "/v1/similarity"): Operation(
        tag="Model", body=tasks.SimilarityBody, parts=("queries", "documents")
    ),
    ("POST", "/v1/rerank"): Operation(tag="Model", body=tasks.RerankBody, parts=("query", "documents")),
    ("POST", "/v1/vqa"): Operation(tag="Model", body=tasks.VqaBody, parts=("input", "question")),
    ("POST", "/v1/explain"): Operation(
        tag="Model", body=explain.ExplainBody, parts=("input", "target"), also=("image/png",)
    ),
    ("POST", "/v1/locate"): Operation(tag="Model", body=explain.LocateBody, parts=("input", "query")),
    ("GET", "/v1/files"): Operation(tag="Files", query=files.FilesCursor),
    ("POST", "/v1/files"): Operation(tag="Files", body=files.UploadForm, parts=("file",)),
    ("GET", "/v1/files/<file_id>"): Operation(tag="Files"),
    ("DELETE", "/v1/files/<file_id>"): Operation(tag="Files"),
    ("GET", "/v1/files/<file_id>/content"): Operation(tag="Files", answer="application/octet-stream"),
    ("GET", "/v1/files/<file_id>/thumbnail"): Operation(
        tag="Files", query=files.ThumbnailQuery, answer="image/webp"
    ),
    ("GET", "/v1/vector_stores"): Operation(tag="Vector stores", query=Cursor),
    ("POST", "/v1/vector_stores"): Operation(tag="Vector stores", body=stores.CreateStoreBody, optional=True),
    ("GET", _STORE): Operation(tag="Vector stores"),
    ("POST", _STORE): Operation(tag="Vector stores", body=stores.UpdateStoreBody),
    ("DELETE", _STORE): Operation(tag="Vector stores"),
    ("POST", f"{_STORE}/reembed"): Operation(
        tag="Vector stores", body=stores.ReembedBody, optional=True, status=202
    ),
    ("GET", f"{_STORE}/files"): Operation(tag="Vector stores", query=stores.EntriesCursor),
    ("POST", f"{_STORE}/files"): Operation(tag="Vector stores", body=stores.AttachBody, parts=("file",)),
    ("GET", f"{_STORE}/files/<file_id>"): Operation(tag="Vector stores"),
    ("GET", f"{_STORE}/files/<file_id>/content"): Operation(tag="Vector stores"),
    ("POST", f"{_STORE}/files/<file_id>"): Operation(tag="Vector stores", body=stores.AttributesBody),
    ("DELETE", f"{_STORE}/files/<file_id>"): Operation(tag="Vector stores"),
    ("POST", f"{_STORE}/folders"): Operation(tag="Vector stores", body=stores.FolderBody, status=202),
    ("POST", f"{_STORE}/file_batches"): Operation(tag="Vector stores", body=stores.FileBatchBody),
    ("GET", f"{_STORE}/file_batches/<batch_id>"): Operation(tag="Vector stores"),
    ("POST", f"{_STORE}/file_batches/<batch_id>/cancel"): Operation(tag="Vector stores"),
    ("GET", f"{_STORE}/file_batches/<batch_id>/files"): Operation(
        tag="Vector stores", query=stores.EntriesCursor
    ),
    ("POST", f"{_STORE}/search"): Operation(tag="Search", body=stores.SearchBody, parts=PARTS),
    ("GET", f"{_STORE}/items"): Operation(tag="Items", query=items.ItemsCursor),
    ("POST", f"{_STORE}/items"): Operation(
        tag="Items", body=items.ItemBody, query=items.BulkQuery, lines=True, parts=PARTS
    ),
    ("PUT", f"{_STORE}/items/<item_id>"): Operation(tag="Items", body=items.ItemBody, parts=PARTS),
    ("GET", f"{_STORE}/items/<item_id>"): Operation(tag="Items"),
    ("DELETE", f"{_STORE}/items/<item_id>"): Operation(tag="Items"),
    ("GET", "/v1/batches"): Operation(tag="Batches", query=files.JobsCursor),
    ("POST", "/v1/batches"): Operation(tag="Batches", body=batches.BatchBody),
    ("GET", "/v1/batches/<batch_id>"): Operation(tag="Batches"),
    ("POST", "/v1/batches/<batch_id>/cancel"): Operation(tag="Batches"),
    ("GET", "/v1/jobs"): Operation(tag="Jobs", query=files.JobsCursor),
    ("GET", "/v1/jobs/<job_id>"): Operation(tag="Jobs"),
    ("DELETE", "/v1/jobs/<job_id>"): Operation(tag="Jobs"),
    ("GET", "/v1/jobs/<job_id>/events"): Operation(tag="Jobs", answer="text/event-stream"),
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "the input that is meant"},
                "code": {"type": "string"},
            },
        }
    },
}


def openapi(app: Flask, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the application's routes."""
    bodies = {operation.body for operation in OPERATIONS.values() if operation.body is not None}
    ordered = sorted(bodies, key=lambda body: body.__name__)
    _, generated = models_json_schema([(body, "validation") for body in ordered], ref_template=REFERENCE)
    schemas = {**SCHEMAS, **generated["$defs"], "Error": _ERROR}
    paths: dict[str, dict[str, Any]] = {}
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods or ()):
            operation = OPERATIONS.get((method, rule.rule))
            if operation is None:
                continue
            view = inspect.getdoc(app.view_functions[rule.endpoint]) or ""
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            described = _operation(operation, schemas, sorted(rule.arguments))
            described |= {"operationId": rule.endpoint.replace(".", "_"), "summary": _first_line(view)}
            paths.setdefault(path, {})[method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chiasm",
            "version": version,
            "description": "Search, embed and label text, pictures, sound and video.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, schemas: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "tags": [operation.tag],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in arguments
        ],
        "responses": {
            str(operation.status): {
                "description": "done",
                "content": {kind: {"schema": {}} for kind in (operation.answer, *operation.also)},
            },
            "default": {
                "description": "an error",
                "content": {JSON: {"schema": {"$ref": REFERENCE.format(model="Error")}}},
            },
        },
    }
    if operation.query is not None:
        described["parameters"] += _parameters(operation.query)
    if operation.body is not None:
        described["requestBody"] = {
            "required": not operation.optional,
            "content": _contents(operation, operation.body, schemas),
        }
    return described


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    schema = query.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": kind}
        for name, kind in schema["properties"].items()
    ]


def _contents(
    operation: Operation, body: type[BaseModel], schemas: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    contents: dict[str, dict[str, Any]] = {}
    if body is not files.UploadForm:  # a file cannot come in JSON
        contents[JSON] = {"schema": {"$ref": REFERENCE.format(model=body.__name__)}}
    if operation.lines:
        contents[NDJSON] = {"schema": {"type": "string", "description": "a JSON object in each line"}}
    if operation.parts:
        contents[FORM] = {"schema": _form(operation.parts, schemas[body.__name__])}
    return contents


def _form(parts: Sequence[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a form: files and texts under the names of ``parts``, and what else the JSON has."""
    fields = {
        name: {"type": "array", "items": {"type": "string"}, "description": "texts"}
        if name in FORM_TEXTS
        else {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "files"}
        for name in parts
    }
    others = {name: kind for name, kind in schema["properties"].items() if name not in {*parts, "messages"}}
    if set(parts) >= set(FORM_TEXTS):
        others[FUSE] = {"type": "boolean", "description": "all parts are one item"}
    return {"type": "object", "properties": {**fields, **others}}


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0].rstrip(".")
