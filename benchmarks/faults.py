"""Kill each process of a server in turn with SIGKILL, under load, and look for what is lost; see README.md.

Uploads, items and searches go on over HTTP the whole time, on this machine only, in a temporary folder. After
every kill the seconds until ``/readyz`` says yes are taken. At the end everything that was acknowledged must
be listed once, searchable, and hold the bytes that were sent.
"""

import argparse
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TARGETS = ("engine", "library", "web", "worker", "supervisor")
READY_SECONDS = 120.0
INDEXED_SECONDS = 120.0
UPLOAD_SECONDS = 0.3  # each is a job of its own, of which a queue takes up some four a second
COLOURS = ("red", "green", "apple", "boat", "sea", "train", "bread", "note")


class Server:
    """``chiasm serve``, started again when its supervisor was killed, as a service manager does it."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = [*command, "--data-dir", str(folder / "data"), "--json"]
        self._environment = {**os.environ, **(environment or {})}
        self.log = folder / "log"
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it, on the port that it had before."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "--port", str(self.port)],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text(errors="replace")[-2000:]
        self.port = int(json.loads(line)["url"].rsplit(":", 1)[1])

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """The answer as JSON; raises ``OSError`` unless it is a success."""
        sent = json.dumps(body).encode() if kind == "application/json" and body is not None else body
        return json.loads(self.raw(method, path, sent, kind) or b"null")

    def raw(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        """The answer's bytes; raises ``OSError`` unless it is a success."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if body else {})
            answer = connection.getresponse()
            data = answer.read()
            if answer.status >= 300:
                raise OSError(f"{method} {path}: {answer.status} {data[:200]!r}")
            return data
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether embedding and the library answer."""
        with suppress(OSError):
            self.raw("GET", "/readyz")
            self.raw("GET", "/healthz")
            return True
        return False

    def pid_of(self, target: str) -> int | None:
        """The process of that name now, by what the supervisor has logged."""
        if target == "supervisor":
            return self.process.pid
        name = "web" if target == "worker" else target
        started = f"{name}: started, process "
        lines = [x for x in self.log.read_text(errors="replace").splitlines() if x.startswith(started)]
        if not lines:
            return None
        pid = int(lines[-1].removeprefix(started))
        if target != "worker":
            return pid
        with suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return int(children[-1]) if children else None
        return None

    def kill(self, target: str) -> bool:
        """Kill one process; whether there was one."""
        pid = self.pid_of(target)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if target == "supervisor":
            self.process.wait()
            self._restart()
        return True

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _restart(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            with suppress(AssertionError):  # the port or the data directory is not free yet
                self.start()
                return
            time.sleep(0.05)
        raise AssertionError("the server did not start again")


@dataclass
class Acknowledged:
    """What the server has said that it keeps."""

    uploads: dict[str, bytes] = field(default_factory=dict)  # by file id
    attached: dict[str, str] = field(default_factory=dict)  # marks of those that were put into the store
    items: set[str] = field(default_factory=set)
    searches: int = 0
    failures: int = 0


class Load:
    """Callers that go on whatever happens, and write down what they were promised."""

    def __init__(self, server: Server, store: str) -> None:
        self._server = server
        self._store = store
        self._stop = threading.Event()
        self.said = Acknowledged()
        work = (self._upload, self._write_item, self._search)
        self._threads = [threading.Thread(target=self._repeat, args=(one,)) for one in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the callers end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                work()
            except OSError:
                self.said.failures += 1
                self._stop.wait(0.05)

    def _upload(self) -> None:
        self._stop.wait(UPLOAD_SECONDS)
        mark = secrets.token_hex(8)
        text = f"{secrets.choice(COLOURS)} {mark}"
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x.txt"\r\n\r\n'
        form = f"{head}{text}\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        name = self._server.call("POST", "/v1/files", form, kind)["id"]
        self.said.uploads[name] = text.encode()
        body = {"file_id": name, "attributes": {"mark": mark}}
        self._server.call("POST", f"/v1/vector_stores/{self._store}/files", body)
        self.said.attached[name] = mark

    def _write_item(self) -> None:
        mark = f"item-{secrets.token_hex(8)}"
        body = {"content": f"{secrets.choice(COLOURS)} {mark}", "attributes": {"mark": mark}}
        self._server.call("PUT", f"/v1/vector_stores/{self._store}/items/{mark}", body)
        self.said.items.add(mark)

    def _search(self) -> None:
        body = {"query": secrets.choice(COLOURS), "max_num_results": 5}
        self._server.call("POST", f"/v1/vector_stores/{self._store}/search", body)
        self.said.searches += 1


@dataclass
class Outcome:
    """What a run found. ``seconds``: from each kill until ready, by target."""

    kills: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    lost: list[str] = field(default_factory=list)
    not_searchable: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """For people and machines."""
        said = self.acknowledged
        return {
            "kills": dict(self.kills),
            "slowest_until_ready": {name: round(max(times), 2) for name, times in self.seconds.items()},
            "uploads": len(said.attached),
            "items": len(said.items),
            "searches": said.searches,
            "failed_calls": said.failures,
            "lost": len(self.lost),
            "not_searchable": len(self.not_searchable),
            "twice": len(self.twice),
        }

    @property
    def sound(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.not_searchable or self.twice)


def run(
    command: Sequence[str],
    folder: Path,
    targets: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    pause: float = 2.0,
    say: Callable[[str], None] = lambda _line: None,
) -> Outcome:
    """Kill ``targets`` one after another, ``pause`` seconds of load before each."""
    outcome = Outcome()
    server = Server(command, folder, environment)
    try:
        _until(server.ready, READY_SECONDS, "ready")
        store = server.call("POST", "/v1/vector_stores", {"name": "faults"})["id"]
        load = Load(server, store)
        try:
            for target in targets:
                time.sleep(pause)
                _until(lambda name=target: server.kill(name), 30, f"a process {target}")
                begun = time.monotonic()
                _until(lambda: not server.ready(), 1.0, "", must=False)
                _until(server.ready, READY_SECONDS, f"ready after the kill of {target}")
                outcome.kills[target] += 1
                outcome.seconds.setdefault(target, []).append(time.monotonic() - begun)
                say(f"{target}: ready again after {outcome.seconds[target][-1]:.2f} s")
            time.sleep(pause)
        finally:
            load.stop()
        outcome.acknowledged = load.said
        _until(lambda: not _waiting(server, store), INDEXED_SECONDS, "everything indexed")
        _check(server, store, outcome)
    finally:
        server.stop()
    return outcome


def _check(server: Server, store: str, outcome: Outcome) -> None:
    said = outcome.acknowledged
    files = Counter(entry["id"] for entry in _every(server, f"/v1/vector_stores/{store}/files", 100))
    items = Counter(entry["id"] for entry in _every(server, f"/v1/vector_stores/{store}/items", 1000))
    outcome.twice = [name for name, count in (files + items).items() if count > 1]
    outcome.lost = sorted((said.attached.keys() - files.keys()) | (said.items - items.keys()))
    for name, text in said.uploads.items():
        if server.raw("GET", f"/v1/files/{name}/content") != text:
            outcome.lost.append(name)
    for mark in (*said.attached.values(), *said.items):
        hits = _marked(server, store, mark)
        if not hits:
            outcome.not_searchable.append(mark)
        elif hits > 1:
            outcome.twice.append(mark)


def _marked(server: Server, store: str, mark: str) -> int:
    """How many hits a search has that asks for this one thing."""
    body = {
        "query": "red",
        "filters": {"type": "eq", "key": "mark", "value": mark},
        "ranking_options": {"score_threshold": 0},
    }
    return len(server.call("POST", f"/v1/vector_stores/{store}/search", body)["data"])


def _waiting(server: Server, store: str) -> int:
    return int(server.call("GET", f"/v1/vector_stores/{store}")["file_counts"]["in_progress"])


def _every(server: Server, path: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = server.call("GET", f"{path}?limit={limit}&order=asc{after}")
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"&after={page['data'][-1]['id']}"


def _until(condition: Callable[[], Any], seconds: float, what: str, *, must: bool = True) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            assert not must, f"not {what} within {seconds:g} s"
            return
        time.sleep(0.02)


def main() -> int:
    """The command; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how many, the processes in turn")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds of load before each")
    wanted = parser.parse_args()
    targets = [TARGETS[n % len(TARGETS)] for n in range(wanted.kills)]
    with tempfile.TemporaryDirectory(prefix="chiasm-faults-") as folder:
        outcome = run(
            [sys.executable, "-m", "chiasm", "serve"],
            Path(folder),
            targets,
            environment={"CHIASM_LIBRARY_SAMPLE": "false"},
            pause=wanted.pause,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    print(json.dumps(outcome.summary(), indent=1))
    return 0 if outcome.sound else 1


if __name__ == "__main__":
    sys.exit(main())
