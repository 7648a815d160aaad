"""The library's long work, as jobs. Run again after a crash, they do what is left."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chiasm.jobs import JobContext, JobFunction
from chiasm.library.library import Library

INDEX_FOLDER = "index_folder"
ADD_FILES = "add_files"


def job_functions(library: Library) -> Mapping[str, JobFunction]:
    """What :class:`~chiasm.jobs.runner.JobRunner` is to run."""

    def index_folder(context: JobContext, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """``{"store", "folder"}`` → an IndexReport."""
        return asdict(library.index_folder(params["store"], params["folder"], context.progress))

    def add_files(context: JobContext, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """``{"store", "file_ids"}`` → how many are in which state."""
        entries = library.add_files(params["store"], params["file_ids"], context.progress)
        failed = [entry.file.id for entry in entries if entry.status == "failed"]
        return {"completed": len(entries) - len(failed), "failed": failed}

    return {INDEX_FOLDER: index_folder, ADD_FILES: add_files}
