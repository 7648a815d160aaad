"""``chiasm serve`` with all its processes (and a model without weights), and the commands that talk to it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

HERE = Path(__file__).parent
SECONDS = 120


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    told: dict[str, Any]
    log: Path

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.told["url"] + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def wait_for(self, path: str, status: int = 200) -> bytes:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                got, body = self.get(path)
                if got == status:
                    return body
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.log.read_text(errors="replace")[-3000:])


def source_path() -> str:
    import chiasm

    return os.pathsep.join([str(HERE), str(Path(chiasm.__file__).parents[1])])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    log = folder / "log"
    command = [sys.executable, str(HERE / "serve_with_fake_model.py"), "--port", "0", "--json"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            stdout=subprocess.PIPE,
            stderr=stream,
            env={**os.environ, "PYTHONPATH": source_path()},
        )
    assert process.stdout is not None
    running = Server(process, json.loads(process.stdout.readline()), log)
    try:
        running.wait_for("/readyz")
        yield running
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def test_the_page_and_the_model_are_there(server: Server):
    assert b"<html" in server.get("/")[1]
    assert json.loads(server.get("/v1/models")[1])["data"][0]["id"] == "fake"


def test_the_sample_library_is_indexed_at_the_first_start(server: Server, run_json):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        code, jobs = run_json("jobs", "--data-dir", server.told["data_dir"])
        assert code == 0
        if jobs and jobs[0]["status"] == "completed":
            break
        time.sleep(0.2)
    assert jobs[0]["result"]["failed"] == []
    assert jobs[0]["result"]["added"] > 70
    code, hits = run_json("search", "red apple", "--threshold", "0", "--data-dir", server.told["data_dir"])
    assert code == 0
    assert hits


def test_a_batch_is_answered_while_the_library_works(server: Server):
    with openai.OpenAI(base_url=f"{server.told['url']}/v1", api_key="any", max_retries=0) as api:
        asked = [
            {"custom_id": str(n), "method": "POST", "url": "/v1/embeddings", "body": {"input": f"thing {n}"}}
            for n in range(50)
        ]
        asked[7]["body"] = {"input": []}
        kept = api.files.create(
            file=("in.jsonl", "\n".join(map(json.dumps, asked)).encode()), purpose="batch"
        )
        batch = api.batches.create(
            input_file_id=kept.id, endpoint="/v1/embeddings", completion_window="24h", metadata={"by": "me"}
        )
        end = time.monotonic() + SECONDS
        while batch.status in {"validating", "in_progress"} and time.monotonic() < end:
            time.sleep(0.1)
            batch = api.batches.retrieve(batch.id)
        assert batch.status == "completed", batch
        assert (batch.request_counts.completed, batch.request_counts.failed) == (49, 1)
        output = [json.loads(line) for line in api.files.content(batch.output_file_id).text.splitlines()]
        assert [line["custom_id"] for line in output] == [str(n) for n in range(50) if n != 7]
        same = api.embeddings.create(model="default", input="thing 3", encoding_format="float")
        assert output[3]["response"]["body"]["data"][0]["embedding"] == pytest.approx(same.data[0].embedding)
        [refused] = api.files.content(batch.error_file_id).text.splitlines()
        assert json.loads(refused)["response"]["body"]["error"]["param"] == "input"
        assert batch.id in [one.id for one in api.batches.list(limit=1)]
        assert api.batches.cancel(batch.id).status == "completed"


def test_index_and_search_use_the_servers_library(server: Server, run_json, notes: Path):
    code, report = run_json("index", str(notes), "--data-dir", server.told["data_dir"])
    assert code == 0
    assert report["added"] == 3
    assert [Path(problem["path"]).name for problem in report["failed"]] == ["broken.png"]
    arguments = ["search", "boat on the sea", "--threshold", "0", "--data-dir", server.told["data_dir"]]
    code, hits = run_json(*arguments)
    assert code == 0
    assert hits[0]["name"] == "boat.txt"
    names = [store["name"] for store in json.loads(server.get("/v1/vector_stores")[1])["data"]]
    assert set(names) == {"sample", "library"}


def test_a_second_server_is_refused_the_same_data(server: Server, tmp_path: Path):
    command = [sys.executable, str(HERE / "serve_with_fake_model.py"), "--port", "0"]
    done = subprocess.run(
        [*command, "--data-dir", server.told["data_dir"]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source_path()},
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert str(Path(server.told["data_dir"])) in done.stderr


def test_control_c_ends_all_processes(tmp_path: Path):
    command = [sys.executable, str(HERE / "serve_with_fake_model.py"), "--port", "0", "--json"]
    environment = {**os.environ, "PYTHONPATH": source_path(), "CHIASM_LIBRARY_SAMPLE": "false"}
    with (tmp_path / "log").open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--data-dir", str(tmp_path / "data")],
            stdout=subprocess.PIPE,
            stderr=stream,
            env=environment,
            start_new_session=True,
        )
    assert process.stdout is not None
    running = Server(process, json.loads(process.stdout.readline()), tmp_path / "log")
    running.wait_for("/readyz")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()
    assert "Traceback" not in (tmp_path / "log").read_text()
    with pytest.raises(OSError, match="refused"):
        running.get("/healthz")
