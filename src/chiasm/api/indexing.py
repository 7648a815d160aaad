"""Putting files into stores: as a job where there are jobs, else within the request."""

from collections.abc import Mapping, Sequence

from chiasm.api.admission import has_budget, spend
from chiasm.api.context import context
from chiasm.api.costs import estimate_of
from chiasm.api.model import describe
from chiasm.api.ports import Jobs
from chiasm.stores import Amounts, EntryRecord
from chiasm.stores.records import Attribute


def attach(
    store: str, file_ids: Sequence[str], attributes: Mapping[str, Attribute] | None
) -> list[EntryRecord]:
    """Put uploaded files into a store and see to it that they get indexed.

    Raises:
        NotFound: no such store or file.
        RateLimited: more than is left of the caller's budget.
    """
    pay_for(store, file_ids)
    ready = context()
    entries = ready.library.attach_files(store, file_ids, attributes=attributes)
    waiting = [entry.file.id for entry in entries if entry.status == "in_progress"]
    if not waiting:
        return list(entries)
    store_id = entries[0].store_id
    if not isinstance(ready.library, Jobs):
        return list(ready.library.add_files(store_id, file_ids))
    ready.library.submit_add_files(store_id, waiting)
    return list(entries)


def pay_for(store: str, file_ids: Sequence[str]) -> None:
    """Count what indexing these files into a store will need.

    Raises:
        NotFound: no such file.
        RateLimited: more than is left of the caller's budget.
    """
    if not has_budget():
        return
    ready = context()
    description = describe(ready.library.get_store(store).store.model)
    paths = [ready.library.path_of(file_id) for file_id in file_ids]
    spend(sum((estimate_of(path, ready.settings, description) for path in paths), Amounts()))
