"""``chiasm jobs``: long work of the server: what runs, how far it is, and an end to it."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from chiasm.cli import options
from chiasm.cli.console import emit, pick
from chiasm.errors import NotFound
from chiasm.settings import LibrarySettings

JobId = Annotated[
    str | None, typer.Argument(help="One job; without it the latest are listed.", metavar="[JOB]")
]
Cancel = Annotated[bool, typer.Option("--cancel", help="Ask JOB to stop.")]
Limit = Annotated[int, typer.Option("--limit", "-n", help="Most jobs listed.", min=1, max=1000)]


def jobs(
    job: JobId = None,
    *,
    cancel: Cancel = False,
    limit: Limit = 20,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """List the jobs of a data directory, newest first; show or cancel one."""
    if cancel and job is None:
        raise typer.BadParameter(pick("expected the JOB to cancel", "请给出要取消的任务"), param_hint="JOB")
    settings = options.read_settings({"library.data_dir": data_dir}).settings
    found = _look(settings.library, job, cancel=cancel, limit=limit)
    emit(found if job is None else found[0], lambda: _table(found), as_json=as_json)


def _look(library: LibrarySettings, job: str | None, *, cancel: bool, limit: int) -> Sequence[Any]:
    from chiasm.jobs.client import JobsClient
    from chiasm.jobs.storage import has_jobs

    if not has_jobs(library.data_dir, library.database_url):
        if job is None:
            return []
        raise NotFound(f"there is no job {job!r}", f"没有任务 {job!r}", param="job_id")
    with JobsClient(library.data_dir, library.database_url) as client:
        if job is None:
            return client.list_jobs(limit=limit)
        return [client.cancel(job) if cancel else client.get(job)]


def _table(found: Sequence[Any]) -> Table | str:
    if not found:
        return pick("no jobs", "没有任务")
    table = Table(box=None, pad_edge=False, show_header=False)
    for record in found:
        problem = "" if record.error is None else pick(record.error.en, record.error.zh)
        done = f"{record.done}/{record.total}" if record.total else ""
        table.add_row(record.id, record.name, record.status, done, Text(problem))
    return table
