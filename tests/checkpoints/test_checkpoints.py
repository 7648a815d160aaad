"""A checkpoint folder comes back as it was written, or is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from chiasm.checkpoints import load, resolve, save
from chiasm.checkpoints.storage import is_quantised
from chiasm.errors import CheckpointError
from chiasm.hub.digest import digest_of
from chiasm.modality import Audio, Image, Item, Text, Video
from chiasm.models.mini.lexicon import Lexicon
from chiasm.models.mini.listener import LexiconListener, ListenerConfig
from chiasm.models.mini.model import ChiasmMini
from chiasm.models.mini.optimise import optimise_for_inference
from chiasm.preprocess import ModelDescription, PreprocessConfig, Preprocessor
from chiasm.tasks import embed
from tiny_model import CHINESE, tiny_model, tiny_preprocess, tiny_tokenizer, write_tiny_checkpoint


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


MAPS = Path("/proc/self/maps")


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells what is mapped")
def test_no_weight_is_a_view_of_the_file(folder: Path):
    """A single one would keep the whole file in memory."""
    model = load(folder).model
    assert str(folder) not in MAPS.read_text()
    assert model is not None


def vectors_of(model: ChiasmMini, description: ModelDescription) -> np.ndarray:
    """Vectors of one item of each modality and of a mixed one."""
    noise = np.random.default_rng(0)
    image = Image(noise.integers(0, 256, (40, 50, 3), np.uint8))
    parts = [
        Text("a red apple, 一只猫"),
        image,
        Audio(noise.uniform(-0.3, 0.3, 9000).astype(np.float32), 16_000),
        Video(noise.integers(0, 256, (5, 40, 40, 3), np.uint8), 2.0),
    ]
    items = [*(Item((part,)) for part in parts), Item((Text("green"), image))]
    preprocessor = Preprocessor(description)
    return embed(model, [preprocessor.prepare(item) for item in items])


def rewrite(folder: Path, name: str, value: bytes) -> None:
    """Change a file and its entry in the manifest."""
    (folder / name).write_bytes(value)
    change_manifest(folder, lambda manifest: manifest["files"].update({name: digest_of(folder / name)}))


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "config.json").read_bytes())
    change(manifest)
    (folder / "config.json").write_text(json.dumps(manifest))


def test_a_model_saved_and_loaded_gives_the_vectors_it_gave(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Storage rounds once: after that, saving and loading change nothing at all."""
    model, description = load(tiny_checkpoint)
    assert (description.name, description.licence, description.dimensions) == ("tiny", "Apache-2.0", 64)
    assert (description.logit_scale, description.context_length) == (20.0, 48)
    assert description.metrics == {"R@1": 0.5}
    assert description.preprocess == tiny_preprocess()
    write_tiny_checkpoint(tmp_path / "again", model=model)
    again = load(tmp_path / "again")
    np.testing.assert_array_equal(vectors_of(*again), vectors_of(model, description))
    assert again.description.revision == description.revision


def test_storage_hardly_turns_a_vector(tiny_checkpoint: Path) -> None:
    model, description = load(tiny_checkpoint)
    before, after = vectors_of(tiny_model(), description), vectors_of(model, description)
    assert (before * after).sum(axis=1).min() >= 0.999


def test_big_matrices_are_stored_in_a_byte_a_number(tiny_checkpoint: Path) -> None:
    stored = load_file(tiny_checkpoint / "model.safetensors")
    kinds = {name: value.dtype for name, value in stored.items()}
    assert kinds["text.token.weight"] is torch.int8
    assert kinds["text.token.weight:scale"] is torch.float16
    assert kinds["image.trunk.stem.weight"] is torch.float16
    assert kinds["image.trunk.stem_norm.running_var"] is torch.float32
    assert all(is_quantised(value) for value in stored.values() if value.dtype is torch.int8)


def test_the_tokenizer_knows_the_added_words(tiny_checkpoint: Path) -> None:
    preprocessor = Preprocessor(load(tiny_checkpoint).description)
    ids = preprocessor.prepare(Item((Text("苹果"),))).parts[0].arrays["token_ids"]
    base = tiny_tokenizer().get_vocab_size()
    assert ids.tolist() == [2, base + CHINESE.index("苹果"), 3]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "preprocess.json", "tokenizer.json", "words.txt", "README.md"]
)
def test_a_changed_byte_is_noticed_in_any_file(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged or was changed") as caught:
        load(folder)
    assert caught.value.param == name


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "words.txt").unlink()
    with pytest.raises(CheckpointError, match=r"words\.txt: expected this file"):
        load(folder)


def test_a_manifest_cannot_reach_outside_of_its_folder(folder: Path) -> None:
    change_manifest(folder, lambda manifest: manifest["files"].update({"../secret": "0" * 64}))
    with pytest.raises(CheckpointError, match=r"\.\./secret"):
        load(folder)


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "changed")
    rewrite(folder, "model.safetensors", (folder / "changed").read_bytes())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("text.norm.weight"), r"text\.norm\.weight, which are missing"),
        (lambda t: t.pop("text.token.weight:scale"), r"text\.token\.weight:scale, which are missing"),
        (lambda t: t.update(extra=torch.zeros(3)), "got extra too"),
        (
            lambda t: t.update({"text.norm.weight": torch.zeros(3)}),
            r"text\.norm\.weight: expected .*\[64\].*\[3\]",
        ),
        (lambda t: t.update({"text.norm.weight": torch.zeros(64, dtype=torch.int64)}), "got torch.int64"),
    ],
)
def test_tensors_that_are_missing_extra_or_of_another_shape_are_named(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    change_tensors(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_what_is_not_safetensors_is_refused(folder: Path) -> None:
    rewrite(folder, "model.safetensors", b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(CheckpointError, match=r"model\.safetensors: expected safetensors"):
        load(folder)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("text", "depth", 10**9),
        ("text", "width", 10**9),
        ("text", "heads", "four"),
        ("text", "heads", 7),
        ("audio", "kernel", 0),
        ("motion", "unknown", 1),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(folder: Path, part: str, key: str, value: object) -> None:
    change_manifest(folder, lambda manifest: manifest["model"][part].update({key: value}))
    with pytest.raises(CheckpointError):
        load(folder)


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"architecture": "other"}', b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(folder: Path, manifest: bytes) -> None:
    (folder / "config.json").write_bytes(manifest)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(folder)


def test_the_revision_changes_with_the_weights_but_not_with_the_card(tmp_path: Path) -> None:
    model = tiny_model()
    first = write_tiny_checkpoint(tmp_path / "first", model=model)
    card = write_tiny_checkpoint(
        tmp_path / "card", model=model, card="another card", metrics={"R@1": 0.9}, calibration={"version": 1}
    )
    weights = write_tiny_checkpoint(tmp_path / "weights", seed=1)
    revisions = [load(folder).description.revision for folder in (first, card, weights)]
    assert revisions[0] == revisions[1] != revisions[2]
    assert all(len(revision) == 16 for revision in revisions)


def test_what_can_be_left_out_comes_back_when_it_is_there(tmp_path: Path) -> None:
    lexicon = Lexicon.of(["cat", "狗"]).to_bytes()
    folder = write_tiny_checkpoint(
        tmp_path / "full", lexicon=lexicon, hearing={"own": 2, "phrases": 3}, calibration={"version": 1}
    )
    model, description = load(folder)
    assert (description.lexicon, description.calibration) == (lexicon, {"version": 1})
    assert isinstance(model.listener, LexiconListener)
    assert model.listener.config == ListenerConfig(own=2, phrases=3)
    assert vectors_of(model, description).shape == (5, 64)


@pytest.mark.parametrize("hearing", [{"unknown": 1.0}, {"own": "much"}])
def test_constants_of_hearing_that_are_none_are_refused(tmp_path: Path, hearing: dict[str, Any]) -> None:
    folder = write_tiny_checkpoint(tmp_path / "deaf", lexicon=Lexicon.of(["cat"]).to_bytes(), hearing=hearing)
    with pytest.raises(CheckpointError, match=r"hearing\.json"):
        load(folder)


def test_a_lexicon_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a lexicon"):
        load(write_tiny_checkpoint(tmp_path / "deaf", lexicon=b"opaque"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": ("猫", "猫")}, "without repeats"),
        ({"words": (*CHINESE[:-1], "apple")}, "without repeats"),
        ({"words": CHINESE[:-1]}, "text.vocabulary"),
        ({"preprocess": PreprocessConfig()}, "cells of a picture is 36"),
        ({"tokenizer_json": "{}"}, r"tokenizer\.json"),
    ],
)
def test_parts_that_do_not_fit_are_not_saved(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        write_tiny_checkpoint(tmp_path / "unfit", **changes)
    assert not (tmp_path / "unfit").exists()


def test_weights_that_are_not_numbers_are_not_saved(tmp_path: Path) -> None:
    model = tiny_model()
    model.text.norm.bias.data[0] = float("nan")
    with pytest.raises(CheckpointError, match=r"text\.norm\.bias: expected finite"):
        write_tiny_checkpoint(tmp_path / "nan", model=model)
    with pytest.raises(CheckpointError):
        resolve(tmp_path / "nan")


def test_an_optimised_model_gives_the_same_vectors_and_is_not_saved(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    model, description = load(tiny_checkpoint)
    before = vectors_of(model, description)
    optimise_for_inference(optimise_for_inference(model))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    np.testing.assert_allclose(vectors_of(model, description), before, atol=1e-4)
    with pytest.raises(CheckpointError, match="optimised for inference"):
        write_tiny_checkpoint(tmp_path / "optimised", model=model)


def test_saving_over_an_older_checkpoint_leaves_nothing_of_it(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "twice", lexicon=b"old")
    write_tiny_checkpoint(folder)
    assert load(folder).description.lexicon == b""
    assert not (folder / "lexicon.bin").exists()


def test_sources_are_the_embedded_model_or_a_folder(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert resolve(tiny_checkpoint) == resolve(str(tiny_checkpoint)) == tiny_checkpoint
    for source in ("someone/model", str(tmp_path)):
        with pytest.raises(CheckpointError, match="chiasm-mini") as caught:
            resolve(source)
        assert caught.value.param == "model.source"
    with pytest.raises(CheckpointError, match="expected the name or the folder of a model, got int"):
        resolve(7)  # type: ignore[arg-type]  # what callers in Python may pass


def test_without_an_embedded_model_one_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("chiasm.checkpoints.layout.EMBEDDED", tmp_path)
    with pytest.raises(CheckpointError, match="give the folder of a checkpoint"):
        resolve(None)


def test_save_says_which_revision_it_wrote(tmp_path: Path) -> None:
    model = tiny_model()
    revision = save(
        tmp_path / "saved",
        model=model,
        name="tiny",
        licence="MIT",
        preprocess=tiny_preprocess(),
        tokenizer_json=tiny_tokenizer().to_str(),
        words=CHINESE,
        logit_scale=1.0,
    )
    assert load(tmp_path / "saved").description.revision == revision
