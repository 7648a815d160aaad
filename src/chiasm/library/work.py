"""The library's long work, as jobs. Run again after a crash, they do what is left."""

import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chiasm.jobs import JobCancelled, JobContext, JobFunction
from chiasm.library.library import Library

INDEX_FOLDER = "index_folder"
ADD_FILES = "add_files"
REEMBED = "reembed"
PULL_MODEL = "pull_model"  # whose function the process has that runs the jobs
FEW_FILES = 16  # at most so many are a small job: see SMALL_QUEUE


def job_functions(library: Library) -> Mapping[str, JobFunction]:
    """What :class:`~chiasm.jobs.runner.JobRunner` is to run."""
    small = threading.Lock()  # small jobs take turns: together they would only slow each other down

    def index_folder(context: JobContext, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """``{"store", "folder"}``, perhaps ``exclude`` → an IndexReport."""
        left_out = params.get("exclude", ())
        report = library.index_folder(params["store"], params["folder"], context.progress, exclude=left_out)
        return asdict(report)

    def add_files(context: JobContext, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """``{"store", "file_ids"}`` → how many are in which state."""
        store, file_ids = params["store"], params["file_ids"]

        def neighbours() -> list[str]:
            return [
                file_id
                for other in context.others()
                if other["store"] == store and len(other["file_ids"]) <= FEW_FILES
                for file_id in other["file_ids"]
            ]

        if len(file_ids) <= FEW_FILES:
            # Files that come one by one are embedded and committed together, by whichever job is first.
            with small:
                entries = library.add_files(store, file_ids, context.progress, neighbours=neighbours)
        else:
            entries = library.add_files(store, file_ids, context.progress)
        failed = [entry.file.id for entry in entries if entry.status == "failed"]
        return {"completed": len(entries) - len(failed), "failed": failed}

    def reembed(context: JobContext, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """``{"store", "model"}`` → an IndexReport."""
        try:
            return asdict(library.reembed(params["store"], params["model"], context.progress))
        except JobCancelled:
            library.drop_shadows(params["store"])
            raise

    return {INDEX_FOLDER: index_folder, ADD_FILES: add_files, REEMBED: reembed}
