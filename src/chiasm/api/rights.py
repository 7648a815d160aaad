"""What a caller needs for each route, in one place; a test fails for a route that is not here."""

from collections.abc import Mapping
from typing import Literal

from chiasm.stores import KeyRecord, Right

Need = Right | Literal["nothing", "any"]  # "any": a key, whatever it may do

NEEDS: Mapping[str, Need] = {
    "health.healthz": "nothing",
    "health.readyz": "nothing",
    "metrics.metrics": "read",
    "documents.document": "nothing",  # as every server of this version has it
    "documents.docs": "nothing",
    "web.page": "nothing",
    "web.asset": "nothing",
    "web.translations": "nothing",
    "session.open_session": "any",
    "session.close_session": "any",
    "models.list_models": "read",
    "models.get_model": "read",
    "models.offer": "admin",
    "models.add_model": "admin",
    "models.remove_model": "admin",
    "embeddings.create_embeddings": "read",
    "classify.classify": "read",
    "similarity.similarity": "read",
    "rerank.rerank": "read",
    "vqa.answer": "read",
    "explain.explain": "read",
    "locate.locate": "read",
    "files.upload_file": "write",
    "files.list_files": "read",
    "files.get_file": "read",
    "files.delete_file": "write",
    "files.file_content": "read",
    "files.file_thumbnail": "read",
    "stores.create_store": "write",
    "stores.list_stores": "read",
    "stores.get_store": "read",
    "stores.update_store": "write",
    "stores.delete_store": "write",
    "stores.reembed": "write",
    "entries.attach_file": "write",
    "entries.list_entries": "read",
    "entries.get_entry": "read",
    "entries.entry_content": "read",
    "entries.update_entry": "write",
    "entries.remove_entry": "write",
    "entries.index_folder": "admin",  # it can name any file of the machine
    "file_batches.create_batch": "write",
    "file_batches.get_batch": "read",
    "file_batches.cancel_batch": "write",
    "file_batches.list_batch": "read",
    "items.add_items": "write",
    "items.list_items": "read",
    "items.put_item": "write",
    "items.get_item": "read",
    "items.delete_item": "write",
    "search.search": "read",
    "batches.create_batch": "write",
    "batches.list_batches": "read",
    "batches.get_batch": "read",
    "batches.cancel_batch": "write",
    "jobs.list_jobs": "admin",  # everybody's
    "jobs.get_job": "read",  # of those who know its id
    "jobs.delete_job": "admin",
    "jobs.job_events": "read",  # as get_job
}
SHOWN_BY_COOKIE = frozenset({"files.file_content", "files.file_thumbnail"})  # what <img> and <audio> load


def need_of(endpoint: str | None) -> Need:
    """What a route needs; what is not there, or was forgotten here, needs the most."""
    return "any" if endpoint is None else NEEDS.get(endpoint, "admin")


def allows(key: KeyRecord, need: Need) -> bool:
    """Whether a key has what is needed; ``admin`` has everything."""
    return need in {"nothing", "any"} or need in key.rights or "admin" in key.rights
