"""``chiasm keys``, without a server and beside one with two web workers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cli_server import HERE, Server, source_path


def test_a_key_is_shown_once_and_listed_without_its_secret(run_json, run):
    code, made = run_json("keys", "create", "laptop", "--right", "write", "--right", "read", "--rate", "60")
    assert code == 0
    assert made["rights"] == ["read", "write"]
    assert made["key"].startswith("ck-")
    code, listed = run_json("keys", "list")
    assert [(key["name"], key["rate"], key["revoked_at"]) for key in listed] == [("laptop", 60, None)]
    assert listed[0]["used_today"] == {"text_tokens": 0, "pixels": 0, "media_seconds": 0}
    assert made["key"][-43:] not in json.dumps(listed) + run("keys", "list")[1]


def test_what_people_see(run, monkeypatch: pytest.MonkeyPatch):
    assert "no keys" in run("keys", "list")[1]
    _, shown, _ = run("keys", "create", "guest", "--pixels", "1000", "--expires", "12h")
    assert shown.startswith("ck-")
    assert "cannot be shown again" in shown
    listed = run("keys", "list")[1]
    assert "pixels 0/1000" in listed
    assert "until 20" in listed
    assert "revoked: guest" in run("keys", "revoke", "guest")[1]
    assert "revoked" in run("keys", "list")[1]
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "已撤销" in run("keys", "list")[1]


def test_nothing_is_made_where_there_is_nothing(run_json, tmp_path: Path):
    assert run_json("keys", "list") == (0, [])
    code, answer = run_json("keys", "revoke", "nobody")
    assert (code, answer["error"]["code"]) == (1, "not_found")
    assert not (tmp_path / "chiasm-data").exists()


@pytest.mark.parametrize(
    "wrong", [["--expires", "3y"], ["--expires", "0d"], ["--expires", "-1d"], ["--rate", "-1"]]
)
def test_wrong_bounds_are_wrong_usage(run, wrong: list[str]):
    assert run("keys", "create", "a", *wrong)[0] == 2


def test_an_unknown_right_is_an_error(run_json):
    code, answer = run_json("keys", "create", "a", "--right", "root")
    assert (code, answer["error"]["param"]) == (1, "rights")


def test_with_a_key_a_server_may_listen_beyond_this_machine(run, run_json, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chiasm.cli.serve._run", lambda settings, as_json: 0)
    assert run("serve", "--host", "0.0.0.0", "--port", "0")[0] == 2
    run("keys", "create", "a")
    assert run("serve", "--host", "0.0.0.0", "--port", "0")[0] == 0
    run("keys", "revoke", "a")
    assert run("serve", "--host", "0.0.0.0", "--port", "0")[0] == 0, "it lets nobody in"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    command = [
        sys.executable,
        str(HERE / "serve_with_fake_model.py"),
        "--port",
        "0",
        "--json",
        "--workers",
        "2",
    ]
    environment = {**os.environ, "PYTHONPATH": source_path(), "CHIASM_LIBRARY_SAMPLE": "false"}
    log = tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--data-dir", str(tmp_path / "data")],
            stdout=subprocess.PIPE,
            stderr=stream,
            env=environment,
            cwd=tmp_path,
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


def test_keys_beside_a_running_server(server: Server, run_json):
    data = ["--data-dir", server.told["data_dir"]]

    def get(token: str | None = None) -> int:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return server.get("/v1/models", **headers)[0]  # a connection each, so that both workers get to answer

    assert get() == 200
    _, admin = run_json("keys", "create", "admin", "--right", "admin", *data)
    assert (get(), get("none"), get(admin["key"])) == (401, 401, 200)
    assert (server.get("/healthz")[0], server.get("/")[0]) == (200, 200)

    _, bounded = run_json("keys", "create", "bounded", "--rate", "10", *data)
    began = time.monotonic()
    answers = Counter(get(bounded["key"]) for _ in range(30))
    assert 10 <= answers[200] <= 10 + (time.monotonic() - began) / 6 + 1
    assert set(answers) == {200, 429}

    run_json("keys", "revoke", admin["id"], *data)
    assert {get(admin["key"]) for _ in range(10)} == {401}
    assert [key["id"] for key in run_json("keys", "list", *data)[1]] == [admin["id"], bounded["id"]]

    refused = 30 - answers[200] + 10 + 2
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    lines = (Path(server.told["data_dir"]) / "audit.jsonl").read_text().splitlines()
    assert len(lines) == refused, "nothing is lost at the end"
    assert all(json.loads(line)["status"] in {401, 429} for line in lines)
