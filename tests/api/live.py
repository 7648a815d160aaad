"""A whole server: granian in a process of its own, engine and library behind their sockets."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

from api_fakes import ColourModel, ExplainingModel, settings_for

from chiasm.errors import NotFound
from chiasm.jobs import JobRecord
from chiasm.library import Library, open_library
from chiasm.library.server import handlers
from chiasm.serving.addresses import ipc_address, make_private_folder
from chiasm.serving.engine import EngineServer
from chiasm.serving.rpc import RpcServer

HERE = Path(__file__).parent
START_SECONDS = 60


@dataclass
class InlineJobs:
    """Jobs that are done as soon as they are submitted, with the interface of ``JobsClient``."""

    library: Library
    known: dict[str, JobRecord] = field(default_factory=dict)

    def submit(self, name: str, params: dict, *, key: str | None = None, queue: str = "jobs") -> JobRecord:
        if name == "index_folder":
            self.library.index_folder(params["store"], params["folder"], exclude=params.get("exclude", ()))
        else:
            self.library.add_files(params["store"], params["file_ids"])
        job = JobRecord(
            id=f"job_{len(self.known)}",
            name=name,
            status="completed",
            params=params,
            done=1,
            total=1,
            created_at=1.5,
            finished_at=2.5,
            result={"fine": True},
        )
        self.known[job.id] = job
        return job

    def get(self, job_id: str) -> JobRecord:
        if job_id not in self.known:
            raise NotFound(f"there is no job {job_id!r}", f"没有任务 {job_id!r}", param="job_id")
        return self.known[job_id]

    def list_jobs(self, *, limit: int = 50, offset: int = 0) -> list[JobRecord]:
        return list(reversed(self.known.values()))[offset : offset + limit]

    def cancel(self, job_id: str) -> JobRecord:
        self.known[job_id] = replace(self.get(job_id), status="cancelled")
        return self.known[job_id]

    def delete(self, job_id: str) -> None:
        self.known.pop(job_id)


@dataclass
class LiveServer:
    """Where it answers, its web process, and the model behind it."""

    url: str
    process: subprocess.Popen[bytes]
    model: ColourModel


@contextmanager
def live_server(data_dir: Path) -> Iterator[LiveServer]:
    """The server, up and ready."""
    settings = settings_for(data_dir)
    model = ExplainingModel()
    with ExitStack() as stack:
        folder = make_private_folder()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        engine = EngineServer(model, settings, ipc_address(folder, "engine"))
        engine.start()
        stack.callback(engine.stop, 1.0)
        library = stack.enter_context(open_library(settings, model))
        serving = RpcServer(ipc_address(folder, "library"), handlers(library, InlineJobs(library)))
        stack.enter_context(serving)
        port = _free_port()
        arguments = [
            "127.0.0.1",
            str(port),
            str(data_dir),
            ipc_address(folder, "engine"),
            ipc_address(folder, "library"),
        ]
        path = os.pathsep.join([str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            [sys.executable, str(HERE / "serve_web.py"), *arguments],
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        stack.callback(_end, process)
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process)
        yield LiveServer(url, process, model)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Message
    content: bytes

    def json(self) -> dict:
        return json.loads(self.content)


def ask(
    url: str, method: str = "GET", body: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request; a ``dict`` goes as JSON, an iterator in chunks.

    As real clients do, it looks for an answer also when the server stopped listening before all was sent.
    """
    split = urlsplit(url)
    sent = dict(headers or {})
    if isinstance(body, dict):
        body = json.dumps(body).encode()
        sent["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=30)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, f"{split.path}?{split.query}", body, sent)
        answer = connection.getresponse()
        return Answer(answer.status, answer.msg, answer.read())
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if ask(f"{url}/readyz").status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server did not become ready")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
