"""``chiasm finetune``: what it prints, how it is interrupted, what it refuses."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published_folders import make

import chiasm
from chiasm.cli import finetune
from drawn_pairs import write_pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``clip``, ``vit`` and ``pairs``."""
    folder = tmp_path_factory.mktemp("finetune")
    for kind in ("clip", "vit"):
        (folder / kind).mkdir()
        make(kind, folder / kind)
    write_pairs(folder / "pairs", rounds=3)
    return folder


def command(folder: Path, *rest: str) -> list[str]:
    few = (
        "--epochs",
        "2",
        "--batch",
        "9",
        "--learning-rate",
        "0.003",
        "--hold-out",
        "0.25",
        "--device",
        "cpu",
    )
    return ["finetune", str(folder / "clip"), str(folder / "pairs"), "out", *few, "--device", "cpu", *rest]


def test_a_run_tells_how_it_goes_and_what_came_of_it(
    run: Callable[..., tuple[int, str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "_PAUSE", 0.0)
    code, out, err = run(*command(folder, "--train", "head"))
    assert code == 0
    assert "9 pairs held out" in out
    assert all(name in out for name in ("before", "after", "image_to_text_r1", "text_to_image_r5"))
    for line in ("pictures read: 36/36", "texts read: 12/12", "step 6/6: loss", "step 0/6: image_to_text_r1"):
        assert line in err
    assert chiasm.load("out", device="cpu").description.name == "out"


def test_machines_get_one_value(run_json: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    code, told = run_json(*command(folder))
    assert code == 0
    assert (told["done"], told["step"], told["steps"]) == (True, 6, 6)
    assert (told["learnt"], told["held_out"], told["skipped"]) == (27, 9, [])
    assert told["folder"] == str(tmp_path / "out")
    assert told["after"] == told["epochs"][told["best"] - 1]["figures"]
    assert told["before"].keys() == told["after"].keys()


def test_bad_files_are_told_and_skipped(
    run: Callable[..., tuple[int, str, str]], folder: Path, tmp_path: Path
) -> None:
    rows = write_pairs(tmp_path / "bad", rounds=1)
    (tmp_path / "bad" / rows[0]["file_name"]).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    arguments = ("finetune", str(folder / "clip"), "bad", "out", "--epochs", "1", "--device", "cpu")
    code, _, err = run(*arguments)
    assert code == 1
    assert f"{rows[0]['file_name']}: expected an intact PNG picture" in err
    code, _, err = run(*arguments, "--skip-bad", "--hold-out", "0")
    assert code == 0
    assert "skipped: " in err
    assert rows[0]["file_name"] in err


def test_control_c_ends_after_the_step_and_the_same_command_goes_on(
    run_json: Callable[..., Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def press(entry: dict[str, Any]) -> None:
        if "evaluation" in entry and entry["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(finetune, "_silent", press)
        code, told = run_json(*command(folder))
    assert code == 130
    assert (told["done"], told["step"]) == (False, 3)
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "out").exists()
    code, told = run_json(*command(folder))
    assert (code, told["done"]) == (0, True)
    assert [epoch["number"] for epoch in told["epochs"]] == [1, 2]


def test_what_cannot_be_fine_tuned_is_refused(run_json: Callable[..., Any], folder: Path) -> None:
    code, told = run_json("finetune", str(folder / "vit"), str(folder / "pairs"), "out")
    assert code == 1
    assert told["error"]["code"] == "not_trainable"
    assert "'vit'" in told["error"]["message"]
    code, told = run_json("finetune", str(folder / "clip"), "nowhere", "out")
    assert (code, told["error"]["param"]) == (1, "data")
    code, told = run_json(*command(folder, "--clip", "0"))
    assert (code, told["error"]["param"]) == (1, "clip")
