"""The attribute tables of all stores: read from SQL at the first filtered search, then kept in step."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.stores import AttributeTable, Change, Condition, Segments
from chiasm.stores.records import Attribute


class AttributeTables:
    """One table a store.

    Args:
        changing: a lock, held by whoever commits until :meth:`apply` has been told.
    """

    def __init__(self, segments: Segments, changing: AbstractContextManager[Any]) -> None:
        self._segments = segments
        self._changing = changing
        self._tables: dict[str, AttributeTable] = {}

    def allowed(self, store_id: str, modality: str, condition: Condition) -> NDArray[np.uint64]:
        """The ids of the store's segments whose files satisfy the condition."""
        table = self._tables.get(store_id)
        if table is None:
            with self._changing:
                table = self._tables.get(store_id) or self._read(store_id)
                self._tables[store_id] = table
        return table.allowed(modality, condition)

    def apply(self, store_id: str, change: Change) -> None:
        """Follow a committed change."""
        table = self._tables.get(store_id)
        if table is None:
            return  # when it is read, the change is in SQL
        for modality, ids in change.removed.items():
            table.remove(modality, ids)
        table.put(change.attributes)
        for modality, (ids, _) in change.added.items():
            table.add(modality, ids, change.owners[modality])

    def put(self, store_id: str, file_id: str, attributes: Mapping[str, Attribute]) -> None:
        """Follow new attributes of a file."""
        if (table := self._tables.get(store_id)) is not None:
            table.put({file_id: attributes})

    def forget(self, store_id: str) -> None:
        """Drop the table of a store that was deleted."""
        self._tables.pop(store_id, None)

    def _read(self, store_id: str) -> AttributeTable:
        table = AttributeTable()
        table.put(self._segments.attributes(store_id))
        for modality, (ids, owners) in self._segments.owners_of_ids(store_id).items():
            table.add(modality, ids, owners)
        return table
