"""Filters over columns mean what they mean over the values themselves."""

import operator
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.stores import AttributeTable, parse_filter

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**53, 2**53 + 1, 2**53 + 2, 2**62, 2**62 + 1, -(2**53) - 1, 0.5, 1e300, float(2**53)]),
    st.floats(-2, 2, allow_nan=False),
)
VALUES = st.one_of(NUMBERS, st.booleans(), st.sampled_from(["", "a", "b", "猫", "\U0001f431", "\uffff", "1"]))
KEYS = st.sampled_from(["k", "l", "with space"])
ROWS = st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=12)
EQUAL = st.builds(
    lambda kind, key, value: {"type": kind, "key": key, "value": value},
    st.sampled_from(["eq", "ne"]), KEYS, VALUES,
)  # fmt: skip
ORDER = st.builds(
    lambda kind, key, value: {"type": kind, "key": key, "value": value},
    st.sampled_from(["gt", "gte", "lt", "lte"]), KEYS, st.one_of(NUMBERS, st.sampled_from(["", "a", "猫"])),
)  # fmt: skip
AMONG = st.builds(
    lambda kind, key, value: {"type": kind, "key": key, "value": value},
    st.sampled_from(["in", "nin"]), KEYS, st.lists(VALUES, max_size=4),
)  # fmt: skip
FILTERS = st.recursive(
    st.one_of(EQUAL, ORDER, AMONG),
    lambda inner: st.builds(
        lambda kind, parts: {"type": kind, "filters": parts},
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)
COMPARE = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def kind_of(value: Any) -> type:
    return bool if isinstance(value, bool) else str if isinstance(value, str) else float


def same(left: Any, right: Any) -> bool:
    return kind_of(left) is kind_of(right) and left == right


def holds(condition: dict, row: dict[str, Any]) -> bool:
    """The meaning of a filter, said once more and simply."""
    kind = condition["type"]
    if kind in {"and", "or"}:
        return (all if kind == "and" else any)(holds(one, row) for one in condition["filters"])
    value, wanted = row.get(condition["key"]), condition["value"]
    if kind in {"in", "nin"}:
        return any(value is not None and same(value, one) for one in wanted) is (kind == "in")
    if kind in {"eq", "ne"}:
        return (value is not None and same(value, wanted)) is (kind == "eq")
    return value is not None and kind_of(value) is kind_of(wanted) and COMPARE[kind](value, wanted)


def table_of(rows: list[dict[str, Any]]) -> AttributeTable:
    table = AttributeTable()
    table.put({str(i): row for i, row in enumerate(rows)})
    table.add("text", range(100, 100 + len(rows)), map(str, range(len(rows))))
    return table


@settings(max_examples=400, deadline=None)
@given(rows=ROWS, condition=FILTERS)
def test_a_filter_finds_the_rows_for_which_it_holds(rows, condition):
    found = table_of(rows).allowed("text", parse_filter(condition))
    assert found.tolist() == [100 + i for i, row in enumerate(rows) if holds(condition, row)]


@settings(max_examples=100, deadline=None)
@given(before=ROWS, after=ROWS, condition=FILTERS)
def test_what_changes_is_followed(before, after, condition):
    table = table_of(before)
    table.put({str(i): row for i, row in enumerate(after)})
    table.remove("text", range(100, 100 + len(before), 2))
    now = [after[i] if i < len(after) else row for i, row in enumerate(before)]
    found = table.allowed("text", parse_filter(condition))
    assert found.tolist() == [100 + i for i, row in enumerate(now) if i % 2 and holds(condition, row)]


def test_many_rows_and_segments_of_one_file():
    table = table_of([{"n": n} for n in range(1000)])
    table.add("image", [7, 9, 8], ["5", "5", "6"])
    table.add("image", [8, 10], ["6", "999"])
    below = parse_filter({"type": "lte", "key": "n", "value": 5})
    assert table.allowed("image", below).tolist() == [7, 9]
    assert len(table.allowed("text", below)) == 6
    assert table.allowed("video", below).dtype == np.uint64
