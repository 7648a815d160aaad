"""How much there is: a look over all stores."""

from typing import NamedTuple

import sqlalchemy as sa

from chiasm.stores.metadata import Metadata
from chiasm.stores.schema import entries, files, stores

UNKNOWN = "unknown"  # the modality of what could not be read


class Held(NamedTuple):
    """``entries`` files and items of one modality in one store."""

    store_id: str
    modality: str
    entries: int


def census(metadata: Metadata) -> list[Held]:
    """Entries by store and modality; a store without any does not appear."""
    query = (
        sa.select(entries.c.store_id, files.c.modality, sa.func.count())
        .join(files, entries.c.file_id == files.c.id)
        .join(stores, sa.and_(entries.c.store_id == stores.c.id, stores.c.shadow_of.is_(None)))
        .group_by(entries.c.store_id, files.c.modality)
    )
    with metadata.read() as connection:
        return [
            Held(store, modality or UNKNOWN, count) for store, modality, count in connection.execute(query)
        ]
