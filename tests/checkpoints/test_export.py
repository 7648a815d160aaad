"""What is exported, transformers loads without a word, and so do we."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from PIL import Image as Pillow
from published_folders import TEXTS, make

import chiasm
from chiasm.checkpoints import load
from chiasm.checkpoints.decoders import load_decoder
from chiasm.checkpoints.export import export
from chiasm.cli.main import main
from chiasm.errors import CheckpointError
from chiasm.inference import optimise
from chiasm.models.gpt.config import GptConfig
from chiasm.models.gpt.model import Gpt
from chiasm.models.llama.config import LlamaConfig
from chiasm.models.llama.model import Llama
from chiasm.models.renaming import inverted, rename

KINDS = ("bert", "roberta", "vit", "clip", "chinese_clip", "siglip")
CLASSES = {
    "bert": (t.BertModel, {"add_pooling_layer": False}),
    "roberta": (t.BertModel, {"add_pooling_layer": False}),
    "vit": (t.ViTModel, {"add_pooling_layer": False}),
    "clip": (t.CLIPModel, {}),
    "chinese_clip": (t.ChineseCLIPModel, {}),
    "siglip": (t.SiglipModel, {}),
}


def loaded(kind: str, folder: Path) -> torch.nn.Module:
    """By transformers, which must miss and find nothing too much."""
    made, options = CLASSES[kind]
    model, about = made.from_pretrained(folder, output_loading_info=True, **options)
    assert not about["missing_keys"], about
    assert not about["unexpected_keys"], about
    assert not about["mismatched_keys"], about
    return model.eval()


def picture() -> Pillow.Image:
    rng = np.random.default_rng(4)
    return Pillow.fromarray(rng.integers(0, 256, (47, 83, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_there_and_back(kind: str, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    make(kind, tmp_path / "first")
    if kind == "bert":
        (tmp_path / "first" / "1_Pooling").mkdir()
        (tmp_path / "first" / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    model, about = load(tmp_path / "first")
    export(model, tmp_path / "second", about=about)
    again, about_again = load(tmp_path / "second")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert (about_again.licence, about_again.languages) == ("apache-2.0", ("en",))
    assert about_again.preprocess == about.preprocess
    ours = chiasm.load(tmp_path / "first", device="cpu")
    theirs = chiasm.load(tmp_path / "second", device="cpu")
    values: list[object] = [*TEXTS] if "text" in about.modalities else []
    values += [picture()] if "image" in about.modalities else []
    np.testing.assert_array_equal(ours.embed(values), theirs.embed(values))


def unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_transformers_gets_the_same_vectors(kind: str, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    make(kind, tmp_path / "first")
    model, about = load(tmp_path / "first")
    export(model, tmp_path / "second", about=about)
    theirs = loaded(kind, tmp_path / "second")
    ours = chiasm.load(tmp_path / "first", device="cpu")
    if "text" in about.modalities:
        tokenizer = t.AutoTokenizer.from_pretrained(tmp_path / "second")
        for text in TEXTS:
            inputs = tokenizer(text, truncation=True, return_tensors="pt", return_token_type_ids=False)
            if kind == "siglip":
                room = about.context_length - inputs["input_ids"].shape[1]
                ids = torch.nn.functional.pad(inputs["input_ids"], (0, room))
                found = theirs.get_text_features(input_ids=ids).pooler_output
            elif kind in {"bert", "roberta"}:
                found = theirs(**inputs).last_hidden_state.mean(dim=1)
            elif (
                kind == "clip"
            ):  # whose end here has the number 2, for which the reference guesses another place
                assert theirs.config.text_config.eos_token_id == 2
                found = theirs.text_projection(theirs.text_model(**inputs).last_hidden_state[:, -1])
            else:
                found = theirs.get_text_features(**inputs).pooler_output
            np.testing.assert_allclose(ours.embed([text]), unit(found), atol=2e-5)
    if "image" in about.modalities:
        processor = t.AutoImageProcessor.from_pretrained(tmp_path / "second", backend="pil")
        pixels = processor(picture(), return_tensors="pt")["pixel_values"]
        if kind == "vit":
            found = theirs(pixels).last_hidden_state[:, 0]
        else:
            found = theirs.get_image_features(pixels).pooler_output
        np.testing.assert_allclose(ours.embed([picture()]), unit(found), atol=2e-5)


DECODERS = [
    Gpt(GptConfig(vocabulary=97, positions=40, width=32, depth=2, heads=4, hidden=64)),
    *(
        Llama(
            LlamaConfig(
                vocabulary=97, positions=40, width=32, depth=2, heads=4, key_heads=2, head_width=width,
                hidden=48, tied=tied, bias=bias,
            )
        )
        for tied, bias, width in ((True, False, 8), (False, False, 12), (True, True, 8))
    ),
]  # fmt: skip


@pytest.mark.parametrize("model", DECODERS)
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-6)])
@torch.no_grad()
def test_decoders(model: Gpt | Llama, precision: torch.dtype, tolerance: float, tmp_path: Path) -> None:
    torch.manual_seed(2)
    for parameter in model.parameters():
        parameter.normal_(0, 0.3)
    make("bert", tmp_path)  # for its tokenizer
    written = json.loads((tmp_path / "tokenizer.json").read_text())
    export(model.eval(), tmp_path / "made", tokenizer=json.dumps(written).encode())
    theirs, about = t.AutoModelForCausalLM.from_pretrained(tmp_path / "made", output_loading_info=True)
    assert not about["missing_keys"]
    assert not about["unexpected_keys"]
    ids = torch.randint(0, 97, (2, 11))
    expected = theirs.to(precision)(ids).logits
    got = model.to(precision)(ids)
    model.to(torch.float32)
    assert float((got - expected).abs().max()) < tolerance * max(1.0, float(expected.abs().max()))
    with pytest.raises(CheckpointError, match="another model's"):  # whose vocabulary is larger
        load_decoder(tmp_path / "made")


def test_half_precision_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "first").mkdir()
    make("clip", tmp_path / "first")
    arguments = [
        "export",
        str(tmp_path / "first"),
        str(tmp_path / "half"),
        "--precision",
        "bfloat16",
        "--json",
    ]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"} <= {
        *told["files"]
    }
    assert t.CLIPModel.from_pretrained(tmp_path / "half").dtype == torch.bfloat16
    whole = chiasm.load(tmp_path / "first", device="cpu").embed([*TEXTS])
    half = chiasm.load(tmp_path / "half", device="cpu").embed([*TEXTS])
    assert float((whole * half).sum(axis=1).min()) > 0.999


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    make("clip", tmp_path / "first")
    model, about = load(tmp_path / "first")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(CheckpointError, match="an empty folder"):
        export(model, tmp_path / "full", about=about)
    with pytest.raises(CheckpointError, match="no counterpart"):
        export(torch.nn.Linear(2, 2), tmp_path / "none", about=about)
    optimise(model)
    with pytest.raises(CheckpointError, match="packed"):
        export(model, tmp_path / "none", about=about)
    assert not (tmp_path / "none").exists()
    assert main(["export", "chiasm-mini", str(tmp_path / "mini")]) == 1
    assert not (tmp_path / "mini").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "full"]


def test_rules_go_backwards() -> None:
    rules = ((r"a\.(\d+)\.b\.(weight|bias)", r"x.\1.\2"), (r"tower\.norm\.(.+)", r"norm.\1"))
    state = {"a.12.b.bias": torch.zeros(1), "tower.norm.running_mean": torch.zeros(1)}
    there = rename(state, rules)
    assert sorted(there) == ["norm.running_mean", "x.12.bias"]
    assert sorted(rename(there, inverted(rules))) == sorted(state)
