"""``chiasm serve`` as a child process on loopback, and requests to it."""

import base64
import http.client
import io
import json
import os
import subprocess
import sys
import time
import wave
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np

from chiasm.errors import ChiasmError
from chiasm.evaluation.speed.processes import Usage, usage

_READY_SECONDS = 120
_RATE = 16_000


class Server:
    """Started on entering, ended on leaving.

    Args:
        source: the model; None for the one in the package. folder: for its data directory and log.
        environment: settings, beside those of this process.

    Attributes:
        port: on loopback.
    """

    def __init__(
        self, source: str | None, folder: Path, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._environment = {**os.environ, **(environment or {})}
        self._command = [sys.executable, "-m", "chiasm", "serve", "--port", "0", "--json"]
        self._command += ["--data-dir", str(folder / "data"), *(["--model", source] if source else [])]
        self._log = folder / "server.log"

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, env=self._environment
            )
        assert self._process.stdout is not None, "stdout is a pipe"
        greeting = json.loads(self._process.stdout.readline() or "{}")
        if "url" not in greeting:
            self.__exit__(None, None, None)
            raise _failed(f"{greeting} {self._said()}")
        address = urlsplit(greeting["url"])
        self.port = address.port or 0
        self._connection = http.client.HTTPConnection(str(address.hostname), self.port, timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def first_embedding(self) -> float:
        """Ask until there is an answer; seconds since the start of the process."""
        while time.perf_counter() - self._started < _READY_SECONDS:
            try:
                if self._post(["a red apple"])[0] == http.client.OK:
                    return time.perf_counter() - self._started
            except (OSError, http.client.HTTPException):
                self._connection.close()
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise _failed(f"no embedding within {_READY_SECONDS} s; {self._said()}")

    def embed(self, parts: list[Any]) -> None:
        """One request over the connection that stays open.

        Raises:
            ChiasmError: an answer other than 200, or none.
        """
        try:
            status, body = self._post(parts)
        except (OSError, http.client.HTTPException) as error:  # else typer ends in silence
            raise _failed(f"{error!r}; {self._said()}") from error
        if status != http.client.OK:
            raise _failed(f"{status}: {body[:300]!r}")

    def usage(self) -> Usage:
        """Of the server and everything that it started."""
        return usage(self._process.pid)

    def _said(self) -> str:
        return self._log.read_text("utf-8", "replace")[-500:]

    def _post(self, parts: list[Any]) -> tuple[int, bytes]:
        body = json.dumps({"input": parts, "encoding_format": "base64"})
        self._connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, answer.read()


def image_part(data: bytes) -> dict[str, str]:
    """A picture as the API takes it."""
    return {"image": base64.b64encode(data).decode()}


def audio_part(data: bytes) -> dict[str, str]:
    """A sound as the API takes it."""
    return {"audio": base64.b64encode(data).decode()}


def tone(rng: np.random.Generator) -> bytes:
    """A second of a note in noise, as WAV."""
    time_axis = np.arange(_RATE) / _RATE
    samples = 0.4 * np.sin(2 * np.pi * rng.uniform(100, 2000) * time_axis) + rng.normal(0, 0.02, _RATE)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def _failed(why: str) -> ChiasmError:
    return ChiasmError(
        f"expected the server of this benchmark to answer, got {why}",
        f"性能测试所启动的服务器未正常应答：{why}",
        code="benchmark_failed",
    )
