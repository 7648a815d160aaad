"""The attributes of a store's files as columns in memory, so that a filter over 100,000 of them takes a
millisecond. SQL is the truth; this is read from it, and follows each change.
"""

import operator
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.stores.filters import Comparison, Condition, Operator, Value
from chiasm.stores.records import Attribute

Mask = NDArray[np.bool_]
ABSENT, NUMBER, TEXT, FALSE, TRUE = range(5)
COMPARE: Mapping[Operator, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
FIRST_ROWS = 64


class Column:
    """One attribute of all rows: what kind of value each has, and the value.

    Numbers are float64; whole numbers that those cannot tell from their neighbours are kept beside. Texts are
    numbered, so that each different one is compared once.
    """

    def __init__(self, rows: int) -> None:
        self._kinds = np.zeros(rows, np.uint8)
        self._numbers = np.zeros(rows, np.float64)
        self._exact: dict[int, int] = {}
        self._codes = np.zeros(rows, np.int32)
        self._texts: dict[str, int] = {}

    def grow(self, rows: int) -> None:
        """Have room for so many rows."""
        more = rows - len(self._kinds)
        self._kinds = np.pad(self._kinds, (0, more))
        self._numbers = np.pad(self._numbers, (0, more))
        self._codes = np.pad(self._codes, (0, more))

    def put(self, row: int, value: Attribute | None) -> None:
        """Set a row's value; ``None`` takes it away."""
        self._exact.pop(row, None)
        if value is None:
            self._kinds[row] = ABSENT
        elif isinstance(value, bool):
            self._kinds[row] = TRUE if value else FALSE
        elif isinstance(value, str):
            self._kinds[row] = TEXT
            self._codes[row] = self._texts.setdefault(value, len(self._texts))
        else:
            self._kinds[row] = NUMBER
            self._numbers[row] = value
            if isinstance(value, int) and int(float(value)) != value:
                self._exact[row] = value

    def matches(self, name: Operator, value: Value) -> Mask:
        """The rows whose value <operator> ``value`` holds."""
        if isinstance(value, bool):
            return np.equal(self._kinds, TRUE if value else FALSE)
        if isinstance(value, str):
            return np.equal(self._kinds, TEXT) & self._texts_that(name, value)[self._codes]
        return np.equal(self._kinds, NUMBER) & self._numbers_that(name, value)

    def _texts_that(self, name: Operator, value: str) -> Mask:
        found = np.zeros(max(1, len(self._texts)), bool)
        if name == "eq":
            code = self._texts.get(value)
            if code is not None:
                found[code] = True
            return found
        compare = COMPARE[name]
        for text, code in self._texts.items():
            found[code] = compare(text, value)
        return found

    def _numbers_that(self, name: Operator, value: float) -> Mask:
        compare = COMPARE[name]
        near = float(value)
        found: Mask = compare(self._numbers, near)
        if int(near) == near and near != value:  # the float is not the number: equals must be told apart
            found[self._numbers == near] = compare(int(near), value)
        for row, exact in self._exact.items():
            found[row] = compare(exact, value)
        return found


class AttributeTable:
    """A row for each file of a store; for each modality the segments and the rows that they belong to.
    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, int] = {}
        self._capacity = FIRST_ROWS
        self._columns: dict[str, Column] = {}
        self._segments: dict[str, tuple[NDArray[np.uint64], NDArray[np.int64]]] = {}

    def put(self, files: Mapping[str, Mapping[str, Attribute]]) -> None:
        """Set the attributes of these files."""
        with self._lock:
            for file_id, attributes in files.items():
                self._put(file_id, attributes)

    def add(self, modality: str, ids: Iterable[int], file_ids: Iterable[str]) -> None:
        """Segments of files that are in the table, by ascending ids; those that are there already stay."""
        with self._lock:
            keys, rows = self._of(modality)
            new = np.fromiter(ids, np.uint64)
            owners = np.fromiter((self._rows[file_id] for file_id in file_ids), np.int64)
            fresh = ~np.isin(new, keys)
            self._segments[modality] = (
                np.concatenate([keys, new[fresh]]),
                np.concatenate([rows, owners[fresh]]),
            )

    def remove(self, modality: str, ids: Iterable[int]) -> None:
        """Take segments away. The rows of their files stay, and are used again if the files come back."""
        with self._lock:
            keys, rows = self._of(modality)
            stays = ~np.isin(keys, np.fromiter(ids, np.uint64))
            self._segments[modality] = (keys[stays], rows[stays])

    def allowed(self, modality: str, condition: Condition) -> NDArray[np.uint64]:
        """The ids, ascending, of the modality's segments whose files satisfy the condition."""
        with self._lock:
            keys, rows = self._of(modality)
            if not len(keys):
                return keys
            chosen: NDArray[np.uint64] = keys[self._mask(condition)[rows]]
            return chosen

    def _of(self, modality: str) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        empty = (np.empty(0, np.uint64), np.empty(0, np.int64))
        return self._segments.get(modality, empty)

    def _put(self, file_id: str, attributes: Mapping[str, Attribute]) -> None:
        row = self._rows.setdefault(file_id, len(self._rows))
        if row >= self._capacity:
            self._capacity *= 2
            for column in self._columns.values():
                column.grow(self._capacity)
        for key in attributes:
            if key not in self._columns:
                self._columns[key] = Column(self._capacity)
        for key, column in self._columns.items():
            column.put(row, attributes.get(key))

    def _mask(self, condition: Condition) -> Mask:
        if isinstance(condition, Comparison):
            return self._compared(condition)
        masks = [self._mask(one) for one in condition.conditions]
        joined: Mask = (np.logical_and if condition.operator == "and" else np.logical_or).reduce(masks)
        return joined

    def _compared(self, condition: Comparison) -> Mask:
        found = np.zeros(self._capacity, bool)
        column = self._columns.get(condition.key)
        if column is not None:
            for value in condition.values:
                found |= column.matches(condition.operator, value)
        return ~found if condition.negated else found
