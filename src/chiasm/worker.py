"""The library process: the only owner of the data directory, its vector indexes and its jobs."""

import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any

from chiasm.errors import DeadlineExceeded, Overloaded
from chiasm.hub.listing import look
from chiasm.hub.names import parse_source, read_receipt
from chiasm.hub.pull import pull
from chiasm.jobs import JobContext, JobFunction
from chiasm.jobs.client import JobsClient
from chiasm.jobs.runner import JobRunner
from chiasm.library import Library, open_library
from chiasm.library.batches import BATCH, Answer, batch_job
from chiasm.library.batches import FOLDER as BATCHES
from chiasm.library.server import handlers
from chiasm.library.watching import keep_in_step
from chiasm.library.work import ADD_FILES, INDEX_FOLDER, PULL_MODEL, job_functions
from chiasm.modality import Modality
from chiasm.models.mini.recogniser import recogniser_of
from chiasm.models.mini.served import served_model
from chiasm.observe.telemetry import Telemetry
from chiasm.observe.traces import tracing
from chiasm.preprocess import Embedder, Preprocessor
from chiasm.preprocess.late import ServedModel
from chiasm.serving.client import EngineClient
from chiasm.serving.observing import observed
from chiasm.serving.registry import Live, Registry
from chiasm.serving.rpc import RpcServer
from chiasm.settings import LibrarySettings, NamedSource, Settings
from chiasm.stores import DataDirLock, Keys
from chiasm.stores.opening import SAMPLE_MARK

logger = logging.getLogger(__name__)

SAMPLE_STORE = "sample"
SAMPLE_FOLDERS = {
    "clips": Modality.VIDEO,
    "notes": Modality.TEXT,
    "pictures": Modality.IMAGE,
    "sounds": Modality.AUDIO,
    "speech": Modality.AUDIO,
}
ENGINE_POLL_SECONDS = 0.5
JOBS_LOOKED_AT = 100
HANDLER_THREADS = 8
JOBS_AT_ONCE = 500


def run_worker(settings: Settings, address: str, engine_address: str) -> None:
    """Serve the library at ``address`` until SIGTERM or SIGINT; then let calls end and suspend the jobs.

    Args:
        settings: all of them.
        address: where to answer, for :class:`~chiasm.library.client.LibraryClient`.
        engine_address: where the engine answers.

    Raises:
        StoreError: another process holds the data directory, or it is damaged.
    """
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    with ExitStack() as stack:
        stack.enter_context(DataDirLock(settings.library.data_dir, address=address))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        engine = stack.enter_context(EngineClient(engine_address))
        if not _wait_for(engine, stopping):
            return
        about = engine.description
        hearing = Preprocessor(about, recogniser_of(about))
        registry = Registry(settings)
        others = Live(registry, lambda one: served_model(engine.of(one.name)))
        library = stack.enter_context(open_library(settings, engine, preprocessor=hearing, others=others))
        keys = stack.enter_context(Keys(settings.library.data_dir))
        # one for the whole process: two that count the same would overwrite each other
        telemetry = Telemetry(tracer=stack.enter_context(tracing(settings.server.otlp_endpoint, "library")))
        functions: dict[str, JobFunction] = {
            **job_functions(library),
            PULL_MODEL: partial(pull_model, registry),
            BATCH: batch_job(
                library,
                settings.library.data_dir / BATCHES,
                partial(
                    _answerer,
                    settings=settings,
                    engine=engine,
                    hearing=hearing,
                    others=others,
                    library=library,
                    keys=keys,
                    telemetry=telemetry,
                ),
            ),
        }
        kept = settings.library
        stack.enter_context(JobRunner(kept.data_dir, functions, database_url=kept.database_url))
        jobs = stack.enter_context(JobsClient(kept.data_dir, kept.database_url))
        if settings.library.sample:
            add_sample(library, jobs, settings.library.data_dir, about.modalities)
        resume_orphans(library, jobs)
        stack.enter_context(watching(settings.library, library, jobs, stopping))
        answers = observed(handlers(library, jobs), "library", telemetry)
        stack.enter_context(RpcServer(address, answers, threads=HANDLER_THREADS))
        logger.info("the library in %s is ready", settings.library.data_dir)
        stopping.wait()


def _answerer(
    key_id: str,
    *,
    settings: Settings,
    engine: Embedder,
    hearing: Preprocessor,
    others: Mapping[str, ServedModel],
    library: Library,
    keys: Keys,
    telemetry: Telemetry,
) -> Answer:
    """The application itself, for whoever has this key; only a batch needs it in this process."""
    from chiasm.api import ApiContext, create_app  # noqa: PLC0415
    from chiasm.api.offline import Offline  # noqa: PLC0415

    context = ApiContext(
        settings=settings,
        embedder=engine,
        preprocessor=hearing,
        others=others,
        library=library,
        keys=keys,
        telemetry=telemetry,
    )
    return Offline(create_app(context), key_id=key_id).answer


def pull_model(registry: Registry, job: JobContext, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """``{"name", "source"}``: bring a model from a hub, and have it served → what was brought."""
    folder = pull(look(parse_source(params["source"])), job.progress)
    registry.add(NamedSource(name=params["name"], source=params["source"]))
    receipt = read_receipt(folder)
    return (
        {}
        if receipt is None
        else {"commit": receipt.commit, "licence": receipt.licence, "bytes": receipt.bytes}
    )


@contextmanager
def watching(
    settings: LibrarySettings, library: Library, jobs: JobsClient, stopping: threading.Event
) -> Iterator[None]:
    """Keep ``settings.watch`` in step, each by a thread that queues jobs; they end with ``stopping``."""
    store = library.ensure_store(settings.watch_store).store if settings.watch else None
    threads = [
        threading.Thread(
            target=keep_in_step,
            args=(folder, _bringer(store.id, folder, jobs, stopping), stopping),
            kwargs={"exclude": [settings.data_dir]},
            name=f"watch-{number}",
        )
        for number, folder in enumerate(settings.watch)
        if store is not None
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def _bringer(store: str, folder: Path, jobs: JobsClient, stopping: threading.Event) -> Callable[[], bool]:
    path = str(folder.expanduser().absolute())

    def bring() -> bool:
        """Queue a look at the folder and wait for its end; whether it went well.

        One that is at work already may have passed by what has changed since: another follows it.
        """
        while True:
            before = {job.id for job in jobs.list_jobs(limit=JOBS_LOOKED_AT) if not job.finished}
            job = jobs.submit(INDEX_FOLDER, {"store": store, "folder": path}, key=f"{store}:{path}")
            while not job.finished:
                if stopping.wait(ENGINE_POLL_SECONDS):
                    return True  # the next start looks again anyway
                job = jobs.get(job.id)
            if job.id not in before:
                return job.status == "completed"

    return bring


def sample_folder() -> Path:
    """Where the openly licensed sample library lies in the package (it may have been left out)."""
    return Path(str(files("chiasm.library"))) / "sample"


def add_sample(
    library: Library, jobs: JobsClient, data_dir: Path, modalities: Collection[Modality] = tuple(Modality)
) -> None:
    """Have the sample library indexed, once in the life of a data directory: as much of it as the model
    takes."""
    folder = sample_folder()
    mark = data_dir / SAMPLE_MARK
    if not folder.is_dir() or mark.exists():
        return
    store = library.ensure_store(SAMPLE_STORE).store
    left_out = [name for name, modality in SAMPLE_FOLDERS.items() if modality not in modalities]
    params = {"store": store.id, "folder": str(folder), "exclude": left_out}
    jobs.submit(INDEX_FOLDER, params, key=f"{store.id}:{folder}")
    mark.touch()


def resume_orphans(library: Library, jobs: JobsClient) -> None:
    """Index what no job will: uploads that a kill caught just before their job, or that a backup brought."""
    for store, waiting in library.waiting().items():
        orphans = dict.fromkeys(waiting)
        offset = 0
        while orphans and (page := jobs.list_jobs(limit=JOBS_AT_ONCE, offset=offset)):
            for job in page:
                for file_id in job.params["file_ids"] if job.name == ADD_FILES else ():
                    orphans.pop(file_id, None)  # in work; or somebody cancelled it
            offset += len(page)
        if orphans:
            jobs.submit(ADD_FILES, {"store": store, "file_ids": list(orphans)}, key=f"orphans:{store}")


def _wait_for(engine: Embedder, stopping: threading.Event) -> bool:
    """Wait until the engine has said what it is; whether it has before this process was told to stop."""
    while not stopping.is_set():
        try:
            logger.info("the model is %s", engine.description.revision)
            return True
        except (Overloaded, DeadlineExceeded):
            stopping.wait(ENGINE_POLL_SECONDS)
    return False
