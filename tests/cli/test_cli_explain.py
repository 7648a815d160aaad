"""``chiasm explain`` with the default model."""

import json
from pathlib import Path

import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

import chiasm.library
from chiasm.cli.main import app

PICTURE = Path(chiasm.library.__file__).parent / "sample" / "pictures" / "lighthouse-and-sailboat.jpg"


def run(*arguments: str) -> object:
    return CliRunner().invoke(app, ["explain", *arguments])


def test_people_are_told_places_and_words_and_get_a_picture(tmp_path: Path) -> None:
    ran = run(str(PICTURE), "a [small] sailboat", "--not", "lighthouse", "-o", str(tmp_path / "where.png"))
    assert ran.exit_code == 0, ran.output
    assert "score" in ran.stdout
    assert "“sailboat”" in ran.stdout
    assert "“small”" in ran.stdout
    with Pillow.open(tmp_path / "where.png") as shown, Pillow.open(PICTURE) as seen:
        assert shown.width / shown.height == pytest.approx(seen.width / seen.height, abs=0.02)


def test_machines_get_everything() -> None:
    ran = run(str(PICTURE), "sailboat", "--method", "attention", "--layer", "0", "--json")
    told = json.loads(ran.stdout)
    assert told["method"] == "attention"
    assert sum(spot["weight"] for spot in told["input"]) == pytest.approx(1, abs=1e-3)
    assert len(told["links"][0]["weights"]) == len(told["input"])


def test_the_right_side_of_the_picture_holds_the_sailboat() -> None:
    told = json.loads(run(str(PICTURE), "sailboat", "--json").stdout)
    right = sum(spot["weight"] for spot in told["input"] if spot["box"] and spot["box"][0] >= 0.45)
    assert right > 0.6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--method", "magic"), "magic"),
        (("--method", "rollout", "--layer", "1"), "layer"),
        (("--method", "attention", "--layer", "77"), "layer"),
        (("-o", "/nowhere/at/all.png"), "--output"),
    ],
)
def test_what_is_wrong_is_named(options: tuple[str, ...], says: str) -> None:
    ran = run(str(PICTURE), "sailboat", *options)
    assert ran.exit_code != 0
    assert says in ran.output + str(ran.exception)
