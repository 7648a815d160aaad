"""Items on their way into a store: read, embedded where they bring no vector, kept."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.api.bodies import validated
from chiasm.api.context import context
from chiasm.api.forms import read_items
from chiasm.api.inputs import hold
from chiasm.api.model import describe, embed
from chiasm.api.parts import ItemSpec, parse_content
from chiasm.api.relating import modality_of
from chiasm.api.schemas.items import ItemBody
from chiasm.api.uploads import FOLDER, HEAD_BYTES, safe_name
from chiasm.api.uploads import path_of as uploaded_path
from chiasm.api.validation import expected
from chiasm.errors import InvalidInput
from chiasm.library import NewItem, PutItem
from chiasm.library.attributes import checked_attributes
from chiasm.library.items import Existing, checked_id
from chiasm.media import sniff
from chiasm.stores.trouble import unwritable

SNIPPET_CHARS = 2000
Vector = Sequence[float] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Draft:
    """An item as a request gives it: with a vector, or with content to be embedded."""

    item: NewItem
    vector: Vector | None = None
    spec: ItemSpec | None = None


def read_item(data: Mapping[str, Any], item_id: str | None = None) -> Draft:
    """One item as JSON; nothing is fetched or decoded yet.

    Args:
        item_id: its id, if the address says it.

    Raises:
        InvalidInput: what is wrong, by name.
    """
    return _draft(validated(ItemBody, data), None, item_id)


def read_item_form(item_id: str | None = None) -> Draft:
    """One item as the request's form, whose parts are its content.

    Raises:
        InvalidInput: what is wrong, by name.
    """
    body, specs = read_items(ItemBody, fuse=True, optional=True)
    if specs and body.content is not None:
        raise InvalidInput(
            "expected either parts of a form or content, got both",
            "表单部分与 content 只能给一个",
            param="content",
        )
    return _draft(body, specs[0] if specs else None, item_id)


def _draft(body: ItemBody, spec: ItemSpec | None, item_id: str | None) -> Draft:
    has_content = spec is not None or body.content is not None
    if has_content == (body.vector is not None):
        raise InvalidInput(
            "expected either content or vector, got " + ("both" if has_content else "neither"),
            "content 与 vector 须且只能给一个",
            param="content",
        )
    if body.id is not None and item_id not in (None, body.id):
        raise expected(f"{item_id!r}, as in the address", f"与地址中相同的 {item_id!r}", body.id, "id")
    identity = item_id if item_id is not None else body.id
    item = NewItem(
        id=None if identity is None else checked_id(identity, "id"),
        attributes=checked_attributes(body.attributes),
        name=body.name,
        modality=body.modality or "text",
    )
    if body.vector is not None:
        return Draft(item=item, vector=body.vector)
    if body.modality is not None:
        raise InvalidInput(
            "expected a modality with a vector only: content tells it by itself",
            "只有给 vector 时才需要 modality：content 自身已能说明",
            param="modality",
        )
    spec = spec or parse_content(body.content, "content", context().settings.limits)
    text = next((part.value for part in spec.parts if part.kind == "text"), None)
    snippet = None if text is None else str(text)[:SNIPPET_CHARS]
    return Draft(item=replace(item, snippet=snippet), spec=spec)


def put(store: str, drafts: Sequence[Draft], existing: Existing) -> list[PutItem]:
    """Keep all of these items, or none.

    Raises:
        ChiasmError: the first that is wrong; the engine or the library cannot answer.
    """
    model = context().library.get_store(store).store.model
    with ExitStack() as held:
        revision: str | None = None
        items: dict[int, tuple[NewItem, Vector]] = {
            id(draft): (draft.item, draft.vector) for draft in drafts if draft.vector is not None
        }
        others = [draft for draft in drafts if draft.spec is not None]
        if others:
            revision = describe(model).revision
            items |= _embedded(others, held, model)
        ordered = [items[id(draft)] for draft in drafts]
        if len(widths := {len(vector) for _, vector in ordered}) > 1:
            raise expected("vectors of equal length", "长度相同的向量", sorted(widths), "vector")
        kept = context().library.put_items(
            store,
            np.array([vector for _, vector in ordered], np.float32),
            [item for item, _ in ordered],
            existing=existing,
            revision=revision,
        )
    return list(kept)


def _embedded(
    drafts: Sequence[Draft], held: ExitStack, model: str | None
) -> dict[int, tuple[NewItem, Vector]]:
    specs = hold([draft.spec for draft in drafts if draft.spec is not None])
    embedded = embed(specs, model)
    found: dict[int, tuple[NewItem, Vector]] = {}
    for draft, spec, prepared, vector in zip(drafts, specs, embedded.items, embedded.vectors, strict=True):
        item = replace(_with_file(draft.item, spec, held), modality=modality_of(prepared))
        found[id(draft)] = (item, vector)
    return found


def _with_file(item: NewItem, spec: ItemSpec, held: ExitStack) -> NewItem:
    """The item with its first medium as a file, so that a hit can be seen and heard."""
    for part in spec.parts:
        if part.kind == "file":
            record = context().library.get_file(part.value)
            path = str(context().library.path_of(part.value))
            return replace(item, path=path, mime=record.mime, name=item.name or record.name)
        if part.kind == "upload":
            uploaded = uploaded_path(part.value)
            with uploaded.open("rb") as content:
                mime = sniff(content.read(HEAD_BYTES)).mime
            return replace(
                item, path=str(uploaded), mime=mime, name=item.name or safe_name(part.value.filename)
            )
        if part.kind == "bytes":
            folder = context().settings.library.data_dir / FOLDER
            try:
                folder.mkdir(parents=True, exist_ok=True)
                kept = Path(held.enter_context(tempfile.TemporaryDirectory(dir=folder))) / "content"
                kept.write_bytes(part.value)
            except OSError as error:
                raise unwritable(folder, error) from error
            return replace(item, path=str(kept), mime=sniff(part.value[:HEAD_BYTES]).mime)
    return item
