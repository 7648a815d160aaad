"""Fine-tuning of published models: they learn, what is locked stays, and a stop changes nothing."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from published_folders import make
from safetensors.torch import load_file

import chiasm
from chiasm.checkpoints import load
from chiasm.errors import CheckpointError, Conflict, DataError, InvalidInput, UnsupportedMedia
from chiasm.training.finetune import FinetuneConfig, FinetuneResult, finetune
from drawn_pairs import COLOURS, SHAPES, draw, write_pairs

Source = dict[str, Path]
QUICK = {"batch": 24, "hold_out": 0.25, "weight_decay": 0.01, "accuracy": "float32"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A folder of each kind, random numbers; the SigLIP's scale and bias are where training begins."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("clip", "siglip", "chinese_clip", "vit")}
    for kind, folder in folders.items():
        model: Any = make(kind, folder)
        if kind == "siglip":
            with torch.no_grad():
                model.logit_scale.fill_(math.log(10))
                model.logit_bias.fill_(-10)
            model.save_pretrained(folder)
    return folders


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 pictures of twelve things."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, rounds=6)
    return folder


def run(source: Path, pairs: Path, out: Path, **options: Any) -> FinetuneResult:
    """With few pairs and a high rate; ``options`` of the config, or of the function."""
    function = {"validation", "seconds", "stop", "log"}
    rest = {name: options.pop(name) for name in function & options.keys()}
    config = FinetuneConfig(**{"epochs": 2, "learning_rate": 3e-3, **QUICK, **options})
    return finetune(source, pairs, out, config=config, **{"log": lambda entry: None, "device": "cpu"} | rest)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def mean(figures: dict[str, float]) -> float:
    return sum(figures.values()) / len(figures)


@pytest.mark.parametrize(("kind", "epochs"), [("clip", 14), ("siglip", 24), ("chinese_clip", 14)])
def test_a_model_learns_what_it_is_shown(
    kind: str, epochs: int, source: Source, pairs: Path, tmp_path: Path
) -> None:
    before = weights(source[kind])
    result = run(source[kind], pairs, tmp_path / "out", epochs=epochs)
    assert (result.done, result.learnt, result.held_out, result.steps) == (True, 54, 18, 2 * epochs)
    assert mean(result.before) < 0.3
    assert mean(result.after) > 0.55
    assert result.after == max((epoch.figures for epoch in result.epochs), key=mean)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert all(torch.equal(value, before[name]) for name, value in weights(source[kind]).items())

    model = chiasm.load(tmp_path / "out", device="cpu")
    rng = np.random.default_rng(99)
    names = [f"a {colour} {shape}" for colour in COLOURS for shape in SHAPES]
    drawn = [draw(colour, shape, rng) for colour in COLOURS for shape in SHAPES]
    found = (model.embed(drawn) @ model.embed(names).T).argsort(axis=1)[:, -5:]
    assert np.mean([row in found[row] for row in range(len(names))]) > 0.7  # chance is 5 of 12

    theirs = transformers.AutoModel.from_pretrained(tmp_path / "out")
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out", backend="pil")
    with torch.no_grad():
        pixels = processor(drawn[0], return_tensors="pt")["pixel_values"]
        vector = torch.nn.functional.normalize(theirs.get_image_features(pixels).pooler_output, dim=-1)
    np.testing.assert_allclose(model.embed(drawn[:1]), vector.numpy(), atol=2e-5)
    told = json.loads((tmp_path / "out" / "training.json").read_text())
    assert told["before"] == result.before
    assert told["epochs"][result.best - 1]["figures"] == result.after
    assert "54 pairs" in (tmp_path / "out" / "README.md").read_text()


def test_the_bias_of_a_siglip_is_kept_and_learns(source: Source, pairs: Path, tmp_path: Path) -> None:
    assert load(source["siglip"])[0].logit_bias == -10
    run(source["siglip"], pairs, tmp_path / "out")
    bias = transformers.SiglipModel.from_pretrained(tmp_path / "out").logit_bias.item()
    assert bias != -10
    assert abs(bias + 10) < 1


TOWERS = {
    "clip": {
        "image": ("vision_model.", "visual_projection."),
        "text": ("text_model.", "text_projection."),
        "head": ("visual_projection.", "text_projection."),
    },
    "siglip": {"image": ("vision_model.",), "text": ("text_model.",), "head": ("text_model.head.",)},
}


@pytest.mark.parametrize(("kind", "part"), [(kind, part) for kind in TOWERS for part in TOWERS[kind]])
@pytest.mark.parametrize("crop", [0.0, 0.6])
def test_what_is_locked_stays_bit_for_bit(
    kind: str, part: Any, crop: float, *, source: Source, pairs: Path, tmp_path: Path
) -> None:
    run(source[kind], pairs, tmp_path / "out", part=part, epochs=1, crop=crop)
    before, after = weights(source[kind]), weights(tmp_path / "out")
    assert before.keys() - {"position_ids"} >= after.keys()
    learning = (*TOWERS[kind][part], "logit_")
    for name, value in after.items():
        assert name.startswith(learning) or torch.equal(value, before[name]), name
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    for prefix in learning:
        assert any(name.startswith(prefix) for name in changed), prefix


def test_features_that_are_kept_change_nothing(
    source: Source, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source["clip"], pairs, tmp_path / "kept", part="head")
    monkeypatch.setattr("chiasm.training.finetune.survey.Pass.texts", lambda *_: None)
    pictures = "chiasm.training.finetune.survey.Pass.pictures"
    monkeypatch.setattr(pictures, lambda *_, **__: (None, {}))
    run(source["clip"], pairs, tmp_path / "anew", part="head")
    anew = weights(tmp_path / "anew")
    for name, value in weights(tmp_path / "kept").items():
        torch.testing.assert_close(value, anew[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("part", ["all", "text"])
def test_a_run_stopped_at_any_step_ends_as_one_that_was_not(
    part: Any, source: Source, pairs: Path, tmp_path: Path
) -> None:
    whole = run(source["clip"], pairs, tmp_path / "whole", part=part, crop=0.5)
    for step in range(1, 4):
        stopped = run(source["clip"], pairs, tmp_path / "parts", part=part, crop=0.5, seconds=0.0)
        assert (stopped.done, stopped.step) == (False, step)
        assert not (tmp_path / "parts").exists()
    resumed = run(source["clip"], pairs, tmp_path / "parts", part=part, crop=0.5)
    assert (resumed.epochs, resumed.before) == (whole.epochs, whole.before)
    expected = weights(tmp_path / "whole")
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path / "parts").items())


KILLED = """
import functools, json, sys, time
from pathlib import Path
import torch
from chiasm.training.finetune import FinetuneConfig, finetune, run

def log(entry):
    print(json.dumps(entry), flush=True)
    if entry["step"] == 6 and "evaluation" in entry:
        time.sleep(600)

source, pairs, out, config, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
run.LoopConfig = functools.partial(run.LoopConfig, save_seconds=0.0)
finetune(source, Path(pairs), Path(out), config=FinetuneConfig(**json.loads(config)), device="cpu", log=log)
"""


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(
    source: Source, pairs: Path, tmp_path: Path
) -> None:
    config = {"epochs": 6, "learning_rate": 3e-3, **QUICK}
    arguments = [str(source["clip"]), str(pairs), str(tmp_path / "out"), json.dumps(config)]
    command = [sys.executable, "-c", KILLED, *arguments, str(torch.get_num_threads())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        entries = map(json.loads, process.stdout)
        assert next(entry for entry in entries if entry["step"] == 6 and "evaluation" in entry)
        with pytest.raises(Conflict, match="nobody else trains in"):
            run(source["clip"], pairs, tmp_path / "out", epochs=6)
        process.kill()
    seen: list[dict[str, Any]] = []
    resumed = run(source["clip"], pairs, tmp_path / "out", epochs=6, log=seen.append)
    assert min(entry["step"] for entry in seen if entry["stage"] == "finetune") == 6
    whole = run(source["clip"], pairs, tmp_path / "whole", epochs=6)
    assert (resumed.epochs, resumed.before) == (whole.epochs, whole.before)
    expected = weights(tmp_path / "whole")
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path / "out").items())


def test_a_pass_over_pictures_that_was_stopped_goes_on(source: Source, pairs: Path, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    first = run(source["clip"], pairs, tmp_path / "out", part="text", stop=lambda: True, log=seen.append)
    assert (first.done, first.step, seen) == (False, 0, [{"stage": "pictures", "step": 32, "steps": 72}])
    run(source["clip"], pairs, tmp_path / "out", part="text", log=seen.append)
    assert [entry["step"] for entry in seen if entry["stage"] == "pictures"] == [32, 64, 72]
    run(source["clip"], pairs, tmp_path / "whole", part="text")
    whole = weights(tmp_path / "whole")
    assert all(torch.equal(value, whole[name]) for name, value in weights(tmp_path / "out").items())


def test_another_run_s_folder_is_not_taken(source: Source, pairs: Path, tmp_path: Path) -> None:
    run(source["clip"], pairs, tmp_path / "out", seconds=0.0)
    with pytest.raises(Conflict, match=r"whose seed is 0, got 1; remove the folder"):
        run(source["clip"], pairs, tmp_path / "out", seed=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(Conflict, match="a new or an empty folder"):
        run(source["clip"], pairs, tmp_path / "out")


def test_settings_may_change_before_anything_was_learnt(source: Source, pairs: Path, tmp_path: Path) -> None:
    run(source["clip"], pairs, tmp_path / "out", stop=lambda: True)
    assert (tmp_path / "out.training" / "pictures.json").exists()
    assert run(source["clip"], pairs, tmp_path / "out", seed=1).done


def test_a_list_to_validate_on_holds_nothing_out(source: Source, pairs: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path / "others", rounds=1, seed=5)
    result = run(source["clip"], pairs, tmp_path / "out", validation=tmp_path / "others" / "metadata.jsonl")
    assert (result.learnt, result.held_out) == (72, 12)
    none = run(source["clip"], pairs, tmp_path / "none", hold_out=0.0)
    assert (none.learnt, none.held_out, none.before, none.best) == (72, 0, {}, 2)
    assert (tmp_path / "none" / "config.json").exists()


def test_a_broken_picture_is_named_before_the_first_step_or_skipped(
    source: Source, pairs: Path, tmp_path: Path
) -> None:
    rows = write_pairs(tmp_path / "bad", rounds=2)
    whole = (tmp_path / "bad" / rows[3]["file_name"]).read_bytes()
    (tmp_path / "bad" / rows[3]["file_name"]).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bad" / rows[5]["file_name"]).unlink()
    for part in ("all", "text"):
        seen: list[dict[str, Any]] = []
        with pytest.raises(UnsupportedMedia, match=rf"{rows[3]['file_name']}: expected an intact PNG"):
            run(source["clip"], tmp_path / "bad", tmp_path / part, part=part, log=seen.append)
        assert seen == []
        result = run(source["clip"], tmp_path / "bad", tmp_path / part, part=part, skip_bad=True)
        assert [Path(bad.name).name for bad in result.skipped] == [rows[3]["file_name"], rows[5]["file_name"]]
        assert "does not exist" in result.skipped[1].en
        assert result.learnt + result.held_out == 22


def test_too_few_pairs(source: Source, tmp_path: Path) -> None:
    draw("red", "circle", np.random.default_rng(0)).save(tmp_path / "one.png")
    (tmp_path / "one.txt").write_text("a red circle")
    with pytest.raises(DataError, match="at least 2 different pictures and texts to learn from, got 1 and 1"):
        run(source["clip"], tmp_path, tmp_path / "out", hold_out=0.0)
    draw("red", "circle", np.random.default_rng(1)).save(tmp_path / "two.png")
    (tmp_path / "two.txt").write_text("a red circle")
    with pytest.raises(DataError, match="got 2 and 1"):
        run(source["clip"], tmp_path, tmp_path / "out", hold_out=0.0)


def test_other_families_are_refused_by_name(
    source: Source, pairs: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "config.json").write_text('{"model_type": "dinov2"}')
    for folder, name in (
        (source["vit"], "vit"), (tmp_path / "foreign", "dinov2"), (tiny_checkpoint, "chiasm-mini"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=f"expected a CLIP, .* got '{name}'"):
            run(folder, pairs, tmp_path / "out")
    assert not (tmp_path / "out.training").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch", 1), ("epochs", 0), ("crop", 1.5), ("part", "nothing"), ("learning_rate", 0.0)],
)
def test_values_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"{name}: expected") as caught:
        FinetuneConfig(**{name: value})
    assert caught.value.param == name
