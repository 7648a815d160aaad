"""Folders of Whispers: what comes out of a load, and what does not fit is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from whisper_folders import LANGUAGES, POSITIONS, change, make, sound, trained_tokenizer

from chiasm.checkpoints.shapes import Table
from chiasm.checkpoints.whisper import load_whisper, whisper_config
from chiasm.errors import CheckpointError
from chiasm.models.whisper.config import WhisperConfig
from chiasm.models.whisper.decoding import transcribe
from chiasm.nn.packed import pack


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper") / "tiny"
    make(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tiny"))


def test_a_folder_transcribes(original: Path) -> None:
    model, tokenizer, tokens = load_whisper(original)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert (sorted(tokens.languages), sorted(tokens.tasks)) == (
        sorted(LANGUAGES),
        ["transcribe", "translate"],
    )
    assert (tokens.latest_first, tokens.most) == (20, POSITIONS)
    heard = transcribe(model, tokenizer, tokens, sound(3), language="zh", most=8)
    assert len(heard.segments) == 2
    assert heard.text == tokenizer.decode(
        [t for s in heard.segments for t in s.tokens if t < tokens.end], skip_special_tokens=True
    ).strip()  # fmt: skip


def test_half_precision_hears_nearly_the_same(original: Path) -> None:
    full, _, _ = load_whisper(original)
    half, tokenizer, tokens = load_whisper(original, precision="bfloat16")
    mel = torch.randn(1, full.config.window, 80)
    with torch.no_grad():
        cosine = torch.cosine_similarity(full.encode(mel), half.encode(mel.bfloat16()).float(), dim=-1)
    assert float(cosine.min()) > 0.99
    pack(half)
    assert transcribe(half, tokenizer, tokens, sound(3), timestamps=True, most=8).segments


def test_the_published_configurations_are_read() -> None:
    tiny = {
        "model_type": "whisper", "d_model": 384, "encoder_layers": 4, "num_hidden_layers": 4,
        "forced_decoder_ids": [[1, 50259], [2, 50359]], "init_std": 0.02, "scale_embedding": False,
        "activation_function": "gelu", "use_weighted_layer_sum": False, "suppress_tokens": [1, 2],
    }  # fmt: skip
    assert whisper_config(Table(tiny)) == WhisperConfig()
    large = {**tiny, "num_mel_bins": 128, "vocab_size": 51_866, "d_model": 1280, "decoder_layers": 32}
    found = whisper_config(Table(large))
    assert (found.mels, found.vocabulary, found.decoder_depth, found.window) == (128, 51_866, 32, 3000)


@pytest.mark.parametrize(
    ("change_of_state", "named"),
    [
        (lambda s: s.pop("model.encoder.conv2.bias"), "stem.second.bias"),
        (lambda s: s.pop("model.decoder.layers.1.encoder_attn.k_proj.weight"),
         "decoder.blocks.1.cross.key.weight"),
        (lambda s: s.pop("model.encoder.layers.0.self_attn.q_proj.bias"),
         "encoder.blocks.0.attention.query.bias"),
        (lambda s: s.update(surprise=torch.ones(2)), "surprise"),
        (
            lambda s: s.update({"model.encoder.layers.0.self_attn.k_proj.bias": torch.ones(32)}),
            "encoder.layers.0.self_attn.k_proj.bias",
        ),
        (lambda s: s.update({"model.decoder.layers.0.fc1.weight": torch.ones(44, 31)}),
         "decoder.blocks.0.feed_forward.expand.weight"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(
    folder: Path, change_of_state: Callable[[dict], object], named: str
) -> None:
    state = load_file(folder / "model.safetensors")
    change_of_state(state)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_whisper(folder)
    assert caught.value.param == named


@pytest.mark.parametrize("layout", ["bare", "with the output layer", "pickled"])
def test_other_ways_to_write_the_same_tensors(folder: Path, layout: str) -> None:
    expected = load_whisper(folder)[0].state_dict()
    state = load_file(folder / "model.safetensors")
    if layout == "with the output layer":
        state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"].clone()
    elif layout == "bare":
        state = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    if layout == "pickled":
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors")
    found = load_whisper(folder)[0].state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("file", "values", "named"),
    [
        ("config.json", {"model_type": "bert"}, "model_type"),
        ("config.json", {"rotary_base": 10_000}, "rotary_base"),
        ("config.json", {"scale_embedding": True}, "scale_embedding"),
        ("config.json", {"tie_word_embeddings": False}, "tie_word_embeddings"),
        ("config.json", {"activation_function": "silu"}, "activation_function"),
        ("config.json", {"d_model": "32"}, "d_model"),
        ("generation_config.json", {"no_timestamps_token_id": None}, "no_timestamps_token_id"),
        ("generation_config.json", {"eos_token_id": 100_000}, "eos_token_id"),
        ("generation_config.json", {"eos_token_id": [1, 2]}, "eos_token_id"),
        ("generation_config.json", {"suppress_tokens": [-1]}, "suppress_tokens"),
        ("generation_config.json", {"lang_to_id": {"<|en|>": "en"}}, "lang_to_id"),
        ("generation_config.json", {"lang_to_id": [1]}, "lang_to_id"),
        ("generation_config.json", {"task_to_id": None}, "task_to_id"),
        ("generation_config.json", {"decoder_start_token_id": 3}, "tokenizer.json"),
        ("preprocessor_config.json", {"hop_length": 200}, "hop_length"),
        ("preprocessor_config.json", {"feature_size": 128}, "feature_size"),
        ("preprocessor_config.json", {"chunk_length": 30}, "chunk_length"),
    ],
)
def test_what_we_do_not_compute_is_refused(folder: Path, file: str, values: dict, named: str) -> None:
    change(folder / file, **values)
    with pytest.raises(CheckpointError) as caught:
        load_whisper(folder)
    assert caught.value.param == named
    assert caught.value.message("zh") != caught.value.message("en")


def test_the_newer_file_of_preprocessing_is_read(folder: Path) -> None:
    old = folder / "preprocessor_config.json"
    numbers: dict[str, Any] = json.loads(old.read_text())
    old.unlink()
    load_whisper(folder)
    for hop, fits in ((160, True), (200, False)):
        (folder / "processor_config.json").write_text(
            json.dumps({"feature_extractor": {**numbers, "hop_length": hop}})
        )
        if fits:
            load_whisper(folder)
        else:
            with pytest.raises(CheckpointError, match="hop_length"):
                load_whisper(folder)


def test_another_model_s_tokenizer_is_refused(folder: Path) -> None:
    trained_tokenizer(english=True).save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="another model"):
        load_whisper(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="JSON of a tokenizer"):
        load_whisper(folder)


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError) as caught:
        load_whisper(folder)
    assert caught.value.param == name
