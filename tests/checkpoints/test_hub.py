"""Models of hubs: pinned, checked, gone on with, and loaded without the network."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_server import COMMIT, Hub, serve
from published_folders import make

import chiasm
from chiasm.cli.main import main
from chiasm.errors import CheckpointError, FetchFailed
from chiasm.hub import names as hubs
from chiasm.hub import pull as pulling
from chiasm.hub.listing import look
from chiasm.hub.names import all_pulled, parse_source, pulled, read_receipt
from chiasm.hub.pull import pull

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "tiny-bert"
    make("bert", folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"not wanted")
    return folder


@pytest.fixture
def hub(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv(hubs.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(pulling, "PAUSE", 0.01)
    for name in ("HF_TOKEN", "MODELSCOPE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    files = {p.relative_to(tiny).as_posix(): p.read_bytes() for p in tiny.rglob("*") if p.is_file()}
    with serve(Hub(files=files)) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", running.url)
        yield running


def requested(hub: Hub, name: str) -> list[dict[str, str]]:
    return [headers for path, headers in hub.asked if path.endswith(f"/{name}")]


@pytest.mark.parametrize("kind", ["hf", "modelscope"])
def test_a_model_is_pulled_pinned_and_loaded_without_the_network(hub: Hub, tiny: Path, kind: str) -> None:
    told: list[tuple[int, int]] = []
    source = parse_source(f"{kind}:owner/tiny")
    offer = look(source)
    assert (offer.licence, offer.commit) == ("mit", COMMIT)
    folder = pull(offer, lambda done, total: told.append((done, total)))
    receipt = read_receipt(folder)
    assert receipt is not None
    assert (receipt.licence, receipt.commit, receipt.bytes) == ("mit", COMMIT, offer.bytes)
    assert told[-1] == (offer.bytes, offer.bytes)
    assert sorted(told) == told
    assert not (folder / "onnx").exists()
    hub.asked.clear()
    expected = chiasm.load(tiny).embed(["a red apple"])
    assert np.array_equal(chiasm.load(f"{kind}:owner/tiny").embed(["a red apple"]), expected)
    assert pulled(parse_source(f"{kind}:owner/tiny@{COMMIT}")) == folder
    assert pulled(parse_source(f"{kind}:owner/tiny@other")) is None
    assert hub.asked == []
    pull(look(source))
    assert requested(hub, WEIGHTS) == [], "what is there is not fetched again"
    assert [one.source for one in all_pulled()] == [f"{kind}:owner/tiny"]


def test_half_a_file_is_gone_on_with(hub: Hub) -> None:
    hub.cut = {WEIGHTS}
    pull(look(parse_source("hf:owner/tiny")))
    first, second = requested(hub, WEIGHTS)
    assert "Range" not in first
    assert second["Range"] == f"bytes={len(hub.files[WEIGHTS]) // 2}-"


def test_what_lies_about_its_hash_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hub.changed = {WEIGHTS}
    with pytest.raises(FetchFailed) as caught:
        pull(look(parse_source("hf:owner/tiny")))
    assert caught.value.param == WEIGHTS
    assert not list((tmp_path / "cache").rglob(f"{WEIGHTS}*"))
    assert all_pulled() == []
    with pytest.raises(CheckpointError, match="chiasm pull"):
        chiasm.load("hf:owner/tiny")
    hub.changed = set()
    pull(look(parse_source("hf:owner/tiny")))
    chiasm.load("hf:owner/tiny")


def test_a_small_file_that_lies_is_thrown_away_too(hub: Hub) -> None:
    hub.changed = {"config.json"}
    with pytest.raises(FetchFailed, match="thrown away"):
        pull(look(parse_source("hf:owner/tiny")))


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(hub: Hub) -> None:
    folder = pull(look(parse_source("hf:owner/tiny")))
    (folder / WEIGHTS).write_bytes(bytes(len(hub.files[WEIGHTS])))
    pull(look(parse_source("hf:owner/tiny")))
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


@pytest.mark.parametrize("path", ["../../escape/config.json", "/etc/config.json"])
def test_paths_that_lead_elsewhere_are_refused(hub: Hub, path: str) -> None:
    hub.listed = {"config.json": path}
    with pytest.raises(CheckpointError, match="path"):
        look(parse_source("hf:owner/tiny"))


def test_a_repository_without_a_model_is_refused(hub: Hub) -> None:
    del hub.files[WEIGHTS]
    with pytest.raises(CheckpointError, match="weights"):
        look(parse_source("hf:owner/tiny"))


def test_the_token_goes_to_the_hub_and_no_further(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    with serve(Hub(files=hub.files)) as storage:
        hub.elsewhere = storage.url
        pull(look(parse_source("hf:owner/tiny")))
        assert all(headers["Authorization"] == "Bearer secret" for _, headers in hub.asked)
        (sent_on,) = storage.asked
    assert "Authorization" not in sent_on[1]


@pytest.mark.parametrize(
    "source", ["hf:owner", "hf:../tiny", "hf:a/b@../c", "hf:a/b c", "modelscope:a/..", "hf:"]
)
def test_names_that_are_none_are_refused(source: str) -> None:
    with pytest.raises(CheckpointError, match="OWNER/NAME"):
        parse_source(source)


def test_a_model_that_is_not_there_is_told(hub: Hub) -> None:
    with pytest.raises(FetchFailed, match="404"):
        look(parse_source("hf:owner/absent"))
    hub.files.clear()
    with pytest.raises(FetchFailed, match="cannot be fetched"):
        look(parse_source("hf:owner/tiny"), "http://127.0.0.1:9")


def test_the_command(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "hf:owner/tiny"]) == 0
    told = capsys.readouterr()
    assert "licence: mit" in told.err
    assert Path(told.out.strip()).is_dir()
    assert main(["models", "--model", "hf:owner/tiny"]) == 0
    assert main(["pull", "nonsense"]) == 1


def test_what_is_kept_lies_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(hubs.CACHE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hubs.cache_folder() == tmp_path / "chiasm" / "hub"
