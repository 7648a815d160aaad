"""Folders of open_clip's: the same model as in the Hugging Face layout."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published_folders import TEXTS, make, openai_names
from safetensors.torch import load_file, save_file

import chiasm
from chiasm.checkpoints import load
from chiasm.errors import CheckpointError

CONFIG = {
    "model_cfg": {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": 30, "layers": 2, "width": 32, "head_width": 8, "patch_size": 6, "mlp_ratio": 1.625,
        },
        "text_cfg": {
            "context_length": 20, "vocab_size": 320, "width": 24, "heads": 2, "layers": 3,
            "mlp_ratio": 44 / 24,
        },
    },
    "preprocess_cfg": {
        "mean": [0.48, 0.45, 0.40], "std": [0.26, 0.25, 0.27], "interpolation": "bicubic",
        "resize_mode": "shortest",
    },
}  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Of the Hugging Face layout, and of open_clip's."""
    there, here = tmp_path / "clip", tmp_path / "open"
    there.mkdir()
    here.mkdir()
    make("clip", there)
    save_file(openai_names(load_file(there / "model.safetensors")), here / "open_clip_model.safetensors")
    (here / "open_clip_config.json").write_text(json.dumps(CONFIG))
    (here / "tokenizer.json").write_bytes((there / "tokenizer.json").read_bytes())
    return there, here


def test_the_vectors_are_the_same(folders: tuple[Path, Path]) -> None:
    there, here = (chiasm.load(folder, device="cpu") for folder in folders)
    rng = np.random.default_rng(2)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((40, 71), (30, 30))
    ]
    np.testing.assert_allclose(here.embed([*TEXTS, *pictures]), there.embed([*TEXTS, *pictures]), atol=1e-6)
    assert here.description.name == "open"
    assert here.description.logit_scale == pytest.approx(there.description.logit_scale)


def test_a_pickle_of_tensors_is_read_and_nothing_else_is(folders: tuple[Path, Path]) -> None:
    _, here = folders
    expected = chiasm.load(here, device="cpu").embed([*TEXTS])
    state = load_file(here / "open_clip_model.safetensors")
    (here / "open_clip_model.safetensors").unlink()
    torch.save(state, here / "open_clip_pytorch_model.bin")
    np.testing.assert_array_equal(chiasm.load(here, device="cpu").embed([*TEXTS]), expected)
    mark = here / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {mark}",)

    (here / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps({"x": Evil()}, protocol=2))
    with pytest.raises(CheckpointError, match=r"open_clip_pytorch_model\.bin"):
        load(here)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("where", "values", "message"),
    [
        ("vision_cfg", {"timm_model_name": "resnet50"}, "timm_model_name"),
        ("vision_cfg", {"layers": [3, 4, 6, 3]}, "layers"),
        ("text_cfg", {"hf_model_name": "roberta-base"}, "hf_model_name"),
        ("model_cfg", {"multimodal_cfg": {"width": 3}}, "multimodal_cfg"),
        ("model_cfg", {"custom_text": True}, "custom_text"),
        ("preprocess_cfg", {"resize_mode": "longest"}, "resize_mode"),
        ("preprocess_cfg", {"mean": [0.5]}, "mean"),
    ],
)
def test_towers_of_other_kinds_are_refused_by_name(
    folders: tuple[Path, Path], where: str, values: dict, message: str
) -> None:
    _, here = folders
    config = json.loads(json.dumps(CONFIG))
    table = config[where] if where in config else config["model_cfg"][where]
    table.update(values)
    (here / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        load(here)


def test_shapes_that_do_not_fit_are_named(folders: tuple[Path, Path]) -> None:
    _, here = folders
    config = json.loads(json.dumps(CONFIG))
    config["model_cfg"]["text_cfg"]["layers"] = 4
    (here / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"text\.encoder\.blocks\.3"):
        load(here)
