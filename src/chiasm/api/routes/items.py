"""``/v1/vector_stores/{id}/items``: things with ids, attributes and vectors of one's own."""

from collections import Counter
from typing import Any

from flask import Blueprint, Response, request

from chiasm.api.answers import page, reply
from chiasm.api.bodies import is_form, read_json, read_lines, validated
from chiasm.api.bulk import Bulk, lines_of
from chiasm.api.context import context
from chiasm.api.items import Draft, put, read_item, read_item_form
from chiasm.api.schemas.items import BulkQuery, ItemsCursor
from chiasm.errors import Conflict, NotFound
from chiasm.library.items import Existing
from chiasm.stores import EntryRecord

blueprint = Blueprint("items", __name__, url_prefix="/v1/vector_stores/<store_id>/items")
LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")


@blueprint.post("")
def add_items(store_id: str) -> Response:
    """One item (JSON or a form), or a line for each of many (NDJSON)."""
    query = validated(BulkQuery, request.args.to_dict())
    store = context().library.get_store(store_id).store.id
    if request.mimetype not in LINES:
        return reply(_put_one(store, _read(None), query.existing))
    bulk = Bulk(store, query.existing)
    following = bulk.run(lines_of(read_lines(LINES), query.first_line), context().settings.server.deadline)
    counts = Counter(result["status"] for result in bulk.results)
    return reply(
        {
            "object": "list",
            "data": bulk.results,
            "counts": {name: counts[name] for name in ("created", "replaced", "kept", "conflict", "failed")},
            "has_more": following is not None,
            "next_line": following,
        }
    )


@blueprint.get("")
def list_items(store_id: str) -> Response:
    """A page of the store's items."""
    query = validated(ItemsCursor, request.args.to_dict())
    found = context().library.list_files(store_id, items=True, **query.model_dump(exclude_none=True))
    return page([item_object(entry) for entry in found.data], has_more=found.has_more)


@blueprint.put("/<item_id>")
def put_item(store_id: str, item_id: str) -> Response:
    """Keep an item under this id, in place of what was there."""
    store = context().library.get_store(store_id).store.id
    return reply(_put_one(store, _read(item_id), "replace"))


@blueprint.get("/<item_id>")
def get_item(store_id: str, item_id: str) -> Response:
    """One item."""
    return reply(item_object(_item(store_id, item_id)))


@blueprint.delete("/<item_id>")
def delete_item(store_id: str, item_id: str) -> Response:
    """Forget an item."""
    entry = _item(store_id, item_id)
    context().library.remove_file(store_id, entry.file.id)
    return reply({"id": item_id, "object": "vector_store.item.deleted", "deleted": True})


def item_object(entry: EntryRecord) -> dict[str, Any]:
    """An item as every route shows it."""
    return {
        "id": entry.item_id,
        "object": "vector_store.item",
        "created_at": entry.created_at,
        "vector_store_id": entry.store_id,
        "file_id": entry.file.id,
        "name": entry.file.name,
        "modality": entry.file.modality,
        "mime": entry.file.mime,
        "usage_bytes": entry.file.bytes,
        "attributes": dict(entry.attributes),
    }


def _read(item_id: str | None) -> Draft:
    return read_item_form(item_id) if is_form() else read_item(read_json(), item_id)


def _put_one(store: str, draft: Draft, existing: Existing) -> dict[str, Any]:
    [kept] = put(store, [draft], existing)
    if kept.status == "conflict":
        raise Conflict(f"there is an item {kept.id!r} already", f"已有编号为 {kept.id!r} 的条目", param="id")
    return {**item_object(context().library.entry(store, kept.id)), "status": kept.status}


def _item(store_id: str, item_id: str) -> EntryRecord:
    entry = context().library.entry(store_id, item_id)
    if entry.item_id != item_id:
        raise NotFound(
            f"there is no item {item_id!r} in store {store_id!r}",
            f"库 {store_id!r} 中没有条目 {item_id!r}",
            param="item_id",
        )
    return entry
