import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from library_fakes import settings_for

from chiasm import worker
from chiasm.errors import Overloaded, StoreError
from chiasm.jobs import JobRecord
from chiasm.library import Library, LibraryClient, connect
from chiasm.modality import Modality
from chiasm.serving.addresses import ipc_address, make_private_folder
from chiasm.stores import DataDirLock, holder_of

HERE = Path(__file__).parent


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    sockets = make_private_folder()
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "note.txt").write_text("an openly licensed note")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    started: list[subprocess.Popen] = []

    def start_now(*watched: Path) -> subprocess.Popen:
        command = [
            sys.executable,
            str(HERE / "worker_process.py"),
            str(tmp_path / "data"),
            ipc_address(sockets, f"library{len(started)}"),
            str(tmp_path / "sample"),
            *map(str, watched),
        ]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start_now
    for process in started:
        process.kill()
        process.communicate()
    for path in sockets.iterdir():
        path.unlink()
    sockets.rmdir()


def client_of(data: Path) -> LibraryClient:
    """Waits until somebody holds the data directory and answers."""
    end = time.monotonic() + 30
    while True:
        holder = holder_of(data)
        if holder is not None and holder.address is not None:
            client = LibraryClient(holder.address, timeout=20)
            try:
                client.list_stores()
                return client
            except Overloaded:
                client.close()
        assert time.monotonic() < end
        time.sleep(0.1)


def until_sample_is_in(client: LibraryClient) -> None:
    end = time.monotonic() + 30
    while client.get_store("sample").files.get("completed") != 1:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_it_serves_holds_the_lock_adds_the_sample_and_ends_when_told(
    start: Callable[[], subprocess.Popen], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    process = start()
    with client_of(data) as client:
        until_sample_is_in(client)
        holder = holder_of(data)
        assert holder is not None
        assert holder.pid == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert holder_of(data) is None


def test_a_data_directory_that_is_in_use_is_refused(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with DataDirLock(tmp_path), pytest.raises(StoreError, match=str(os.getpid())):
        worker.run_worker(settings, "ipc:///nowhere/library", "ipc:///nowhere/engine")


class RecordingJobs:
    """Stands for the jobs' client."""

    def __init__(self) -> None:
        self.submitted: list[tuple[str, str | list[str]]] = []
        self.known: list[JobRecord] = []

    def list_jobs(self, *, limit: int, offset: int) -> list[JobRecord]:
        return self.known[offset : offset + limit]

    def submit(self, name: str, params: dict, *, key: str | None = None) -> None:
        self.submitted.append((name, params.get("folder") or params["file_ids"]))
        self.excluded = params.get("exclude")


def test_a_sample_library_that_was_deleted_stays_deleted(
    library: Library, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "sample_folder", lambda: folder)
    jobs = RecordingJobs()
    worker.add_sample(library, jobs, tmp_path)
    assert jobs.submitted == [("index_folder", str(folder))]
    library.delete_store("sample")
    worker.add_sample(library, jobs, tmp_path)
    assert len(jobs.submitted) == 1
    assert library.find_store("sample") is None


def test_the_sample_has_only_what_the_model_takes(
    library: Library, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "sample_folder", lambda: folder)
    for name in worker.SAMPLE_FOLDERS:
        (folder / name).mkdir()
        (folder / name / f"{name}.txt").write_text(name)
    jobs = RecordingJobs()
    worker.add_sample(library, jobs, tmp_path, (Modality.TEXT, Modality.AUDIO))
    assert jobs.excluded == ["clips", "pictures"]
    report = library.index_folder("sample", folder, exclude=jobs.excluded)
    assert report.added == 3 + 3
    assert {p.name for p in worker.sample_folder().iterdir() if p.is_dir()} == set(worker.SAMPLE_FOLDERS)


def test_the_folders_of_the_sample_are_those_that_ship() -> None:
    shipped = {path.name for path in worker.sample_folder().iterdir() if path.is_dir()}
    assert shipped == set(worker.SAMPLE_FOLDERS)


def test_what_no_job_will_index_is_found_at_the_start(library: Library) -> None:
    store = library.create_store("mine").store.id
    library.add_file(store, b"indexed already", "x.txt")
    in_work, cancelled, orphan = (
        library.upload_file(text, "y.txt").id for text in (b"in work", b"cancelled", b"orphan")
    )
    library.attach_files(store, [in_work, cancelled, orphan])
    jobs = RecordingJobs()
    jobs.known = [
        JobRecord(id="1", name="index_folder", status="running", params={"store": store, "folder": "/x"}),
        JobRecord(id="2", name="add_files", status="queued", params={"store": store, "file_ids": [in_work]}),
        JobRecord(
            id="3", name="add_files", status="cancelled", params={"store": store, "file_ids": [cancelled]}
        ),
    ]
    worker.resume_orphans(library, jobs)
    assert jobs.submitted == [("add_files", [orphan])]


def test_without_a_sample_folder_there_is_no_sample_store(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "sample_folder", lambda: tmp_path / "nowhere")
    worker.add_sample(library, RecordingJobs(), tmp_path)
    assert library.find_store("sample") is None


def test_whoever_answers_for_a_data_directory_is_found(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert connect(settings) is None
    with DataDirLock(tmp_path):
        assert connect(settings) is None
    with DataDirLock(tmp_path, address="ipc:///somewhere/library"):
        client = connect(settings)
        assert client is not None
        client.close()


def test_watched_folders_are_kept_in_step(start: Callable[..., subprocess.Popen], tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "old.txt").write_text("there before")
    process = start(folder)
    with client_of(tmp_path / "data") as client:
        wait_for_names(client, {"old.txt"})
        (folder / "new.txt").write_text("came later")
        (folder / "old.txt").unlink()
        wait_for_names(client, {"new.txt"})
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def wait_for_names(client: LibraryClient, names: set[str]) -> None:
    end = time.monotonic() + 30
    while {entry.file.name for entry in client.list_files("library").data} != names:
        assert time.monotonic() < end
        time.sleep(0.1)
