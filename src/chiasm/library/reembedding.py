"""A store with another model's vectors: made beside it while it goes on answering, then put in its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chiasm.errors import Conflict
from chiasm.library.indexing import Cut, Piece, Task
from chiasm.library.makers import Maker
from chiasm.media import decode, text_fingerprint
from chiasm.modality import Item, Part, Text
from chiasm.settings import Limits
from chiasm.stores import EntryRecord, FileRecord, SegmentRecord
from chiasm.stores.records import Attribute

CONTENT, MODIFIED = "content", "modified"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a shadow lacks of its store, or has of former contents; and files that it has too many."""

    missing: Sequence[EntryRecord]
    extra: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra)


def difference(own: Sequence[EntryRecord], shadow: Sequence[EntryRecord]) -> Difference:
    """Between a store's entries and its shadow's."""
    made = {entry.file.id: entry for entry in shadow}
    missing = [
        entry
        for entry in own
        if entry.file.id not in made or not _is_of(made[entry.file.id].attributes, entry.file)
    ]
    return Difference(missing=missing, extra=sorted(made.keys() - {entry.file.id for entry in own}))


def version_of(file: FileRecord) -> dict[str, Attribute]:
    """Kept as the attributes of a shadow's entry: the contents that its vectors were made of."""
    return {CONTENT: file.sha256 or "", MODIFIED: file.mtime_ns or 0}


def _is_of(attributes: Mapping[str, Attribute], file: FileRecord) -> bool:
    return all(attributes.get(name) == value for name, value in version_of(file).items())


def item_task(
    entry: EntryRecord, segment: SegmentRecord | None, path: Path | None, maker: Maker, limits: Limits
) -> Task:
    """An item, to be embedded anew from what is kept of it: its text and its medium.

    Raises:
        Conflict: nothing is kept of it but its vector.
    """
    text = None if segment is None else segment.snippet
    if segment is None or maker.preprocessor is None or (text is None and path is None):
        raise Conflict(
            f"item {entry.item_id!r} has nothing but a vector, from which another model can make none",
            f"条目 {entry.item_id!r} 只有向量，其他模型无法由它得到新的向量",
            code="not_reembeddable",
        )
    prepare, kind = maker.preprocessor.prepare, segment.modality

    def cut() -> Cut:
        parts: list[Part] = [] if text is None else [Text(text)]
        if path is not None:
            parts.append(decode(path, limits))
        mark = text_fingerprint(text) if text is not None and len(parts) == 1 else segment.fingerprint
        piece = Piece(modality=kind, item=prepare(Item(tuple(parts))), snippet=text, fingerprint=mark)
        return Cut(modality=kind, mime=entry.file.mime or "", pieces=[piece])

    return Task(
        file=entry.file,
        path=partial(Path, ""),
        attributes=version_of(entry.file),
        item_id=entry.item_id,
        cut=cut,
    )
