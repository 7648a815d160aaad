"""``chiasm serve`` with all its processes and a model without weights, and what it says of itself."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

import chiasm

FAKES = Path(__file__).parents[1] / "cli"
SECONDS = 120


@dataclass
class Watched:
    """A running server."""

    url: str
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def ask(
        self,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> tuple[int, bytes]:
        """One request on a connection of its own, so that any worker may get it."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def json(self, path: str, body: object = None, **more: Any) -> Any:
        return json.loads(self.ask(path, body, **more)[1])

    def figures(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """All samples of one scrape, by name and labels, read by Prometheus' own parser."""
        status, text = self.ask("/metrics")
        assert status == 200
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    def figure(self, name: str, **labels: str) -> float:
        """The sum of those samples that have at least these labels."""
        wanted = set(labels.items())
        return sum(
            value for (known, has), value in self.figures().items() if known == name and wanted <= set(has)
        )

    def lines(self) -> list[dict[str, Any]]:
        """The log so far, which must be JSON to the last line."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def until(self, test: Any) -> Any:
        """What ``test()`` gives once it is true."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if found := test():
                    return found
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(self.log.read_text(errors="replace")[-3000:])


@contextmanager
def watched_server(folder: Path, *options: str, **environment: str) -> Iterator[Watched]:
    """A server without the sample library, ready."""
    path = os.pathsep.join([str(FAKES), str(Path(chiasm.__file__).parents[1])])
    command = [sys.executable, str(FAKES / "serve_with_fake_model.py"), "--port", "0", "--json", *options]
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            stdout=subprocess.PIPE,
            stderr=stream,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "CHIASM_LIBRARY_SAMPLE": "false", **environment},
        )
    assert process.stdout is not None
    running = Watched(json.loads(process.stdout.readline())["url"], log, process)
    try:
        running.until(lambda: running.ask("/healthz")[0] == 200)
        yield running
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
