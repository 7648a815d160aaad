"""``chiasm serve``, up to the point where the processes start."""

import inspect
import socket
from pathlib import Path

import pytest

from chiasm.cli.processes import engine_beside, specs
from chiasm.cli.serve import expect_safe, url_of, with_free_port
from chiasm.errors import SettingsError
from chiasm.serving.resolve import resolve
from chiasm.serving.specs import arguments, read_order, write_order
from chiasm.settings import ServerSettings, Settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_keys_only_this_machine_may_connect(run_json, host: str):
    code, answer = run_json("serve", "--host", host)
    assert code == 2
    assert answer["error"]["param"] == "server.host"
    assert "allow_remote" in answer["error"]["message"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_is_safe(host: str):
    expect_safe(ServerSettings(host=host))


def test_a_container_says_that_it_knows_what_it_does():
    expect_safe(ServerSettings(host="0.0.0.0", allow_remote=True))


def test_a_name_that_means_nothing_is_refused():
    with pytest.raises(SettingsError, match="expected an address of this machine"):
        expect_safe(ServerSettings(host="no.such.host.invalid"))


def test_at_least_one_worker(run):
    assert run("serve", "--workers", "0")[0] == 2


def test_the_settings_and_where_they_come_from(run_json, monkeypatch: pytest.MonkeyPatch):
    Path("chiasm.toml").write_text("[server]\nport = 1\nthreads = 2\n")
    monkeypatch.setenv("CHIASM_SERVER_PORT", "3")
    monkeypatch.setenv("CHIASM_MODEL_DEVICE", "cpu")
    code, told = run_json("serve", "--print-settings", "--port", "4")
    assert code == 0
    assert (told["server.port"]["value"], told["server.port"]["origin"]) == (4, "command line")
    assert (told["model.device"]["value"], told["model.device"]["origin"]) == ("cpu", "environment")
    assert (told["server.threads"]["value"], told["server.threads"]["origin"]) == (2, "chiasm.toml")
    assert told["server.host"]["origin"] == "default"


def test_the_settings_are_shown_without_passwords(run, run_json, monkeypatch: pytest.MonkeyPatch):
    url = "postgresql://me:secret@db.example/library"
    monkeypatch.setenv("CHIASM_LIBRARY_DATABASE_URL", url)
    code, settings = run_json("serve", "--print-settings")
    assert code == 0
    assert settings["library.database_url"]["value"] == "postgresql://me:***@db.example/library"
    _, told, _ = run("serve", "--print-settings")
    assert "secret" not in told


def test_a_taken_port_is_told_before_anything_starts(run_json):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, answer = run_json("serve", "--port", str(taken.getsockname()[1]))
    assert code == 1
    assert answer["error"]["code"] == "address_unavailable"


def test_a_port_that_there_is_not(run_json):
    code, answer = run_json("serve", "--port", "70000")
    assert (code, answer["error"]["param"]) == (2, "server.port")


def test_port_0_becomes_a_free_one():
    assert with_free_port(Settings(server=ServerSettings(port=0))).server.port > 1023


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
    ],
)
def test_the_address_can_be_clicked(host: str, url: str):
    assert url_of(ServerSettings(host=host)) == url


def test_the_processes_can_be_started_with_what_they_are_given(tmp_path: Path):
    """Each target exists and takes these arguments, after their way through a pipe."""
    made = specs(Settings(), tmp_path)
    assert [spec.name for spec in made] == ["engine", "library", "web"]
    for spec in made:
        path = tmp_path / spec.name
        path.write_bytes(write_order(spec, parent=1))
        with path.open("rb") as stream:
            order = read_order(stream)
        function = resolve(order.target)
        given = arguments(function, order.args)
        inspect.signature(function).bind(**given)
        assert given["settings"] == Settings()


def test_the_engine_is_found_beside_the_library(tmp_path: Path):
    engine, library, _ = specs(Settings(), tmp_path)
    assert engine_beside(str(library.args["address"])) == engine.args["address"]


def test_what_is_printed_and_started(run_json, monkeypatch: pytest.MonkeyPatch):
    started: list[Settings] = []

    def run_processes(settings: Settings, *, log: object) -> int:
        started.append(settings)
        return 0

    monkeypatch.setattr("chiasm.cli.processes.run_processes", run_processes)
    code, told = run_json("serve", "--port", "0", "--data-dir", "kept")
    assert code == 0
    assert told["url"] == f"http://127.0.0.1:{started[0].server.port}"
    assert told["data_dir"] == str(Path("kept").absolute())
