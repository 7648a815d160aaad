"""CLAP: the reference's frames and vectors, from folders as hubs have them."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from published_folders import READER, trained_tokenizer
from safetensors.torch import load_file, save_file

import chiasm
from chiasm.checkpoints import load
from chiasm.checkpoints.clap import sound_numbers
from chiasm.errors import CheckpointError, InvalidInput
from chiasm.modality import Audio
from chiasm.models.clap.model import Clap
from chiasm.nn.recorder import record
from chiasm.preprocess.audio import AudioPreprocessor

SOUND = {
    "feature_extractor_type": "ClapFeatureExtractor", "feature_size": 64, "sampling_rate": 48_000,
    "hop_length": 480,
    "max_length_s": 10, "fft_window_size": 1024, "frequency_min": 0, "frequency_max": 14_000, "top_db": None,
    "truncation": "rand_trunc", "padding": "repeatpad", "padding_side": "right", "padding_value": 0.0,
    "return_attention_mask": False, "chunk_length_s": 10, "n_fft": 1024, "nb_frequency_bins": 513,
    "nb_max_samples": 480_000, "nb_max_frames": 1000, "processor_class": "ClapProcessor",
}  # fmt: skip
SMALL = {
    "num_mel_bins": 8, "spec_size": 32, "patch_size": 2, "patch_stride": [2, 2],
    "patch_embeds_hidden_size": 8,
    "depths": [2, 1], "num_attention_heads": [2, 4], "window_size": 4, "mlp_ratio": 2.0,
}  # fmt: skip


def make(folder: Path, **audio: object) -> t.ClapModel:
    torch.manual_seed(5)
    shape = {**SMALL, **audio}
    last = int(shape["patch_embeds_hidden_size"]) * 2 ** (len(shape["depths"]) - 1)  # type: ignore[call-overload, arg-type]
    config = t.ClapConfig(
        text_config={"vocab_size": 320, "max_position_embeddings": 42, "pad_token_id": 1, **READER},
        audio_config={**shape, "hidden_size": last},
        projection_dim=12,
    )
    model = t.ClapModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        norm = model.audio_model.audio_encoder.batch_norm
        norm.running_mean.uniform_(-30, 10)
        norm.running_var.uniform_(50, 300)
    model.save_pretrained(folder)
    trained_tokenizer("[CLS]", "[SEP]").save(str(folder / "tokenizer.json"))
    numbers = {**SOUND, "feature_size": shape["num_mel_bins"]}
    (folder / "preprocessor_config.json").write_text(json.dumps(numbers))
    return model


def sounds() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    time = np.arange(480_000) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 3000 * time)
    noise = 0.15 * rng.standard_normal(480_000)
    return [tone[:20_000], noise[:1000], noise, tone, np.zeros(48_000), 1e-4 * noise[:200_001]]


@pytest.mark.parametrize("padding", ["repeatpad", "pad"])
def test_frames_are_the_references(padding: str, tmp_path: Path) -> None:
    numbers = {**SOUND, "padding": padding}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(numbers))
    reference = t.ClapFeatureExtractor(**{k: v for k, v in numbers.items() if k != "feature_extractor_type"})
    ours = AudioPreprocessor(sound_numbers(tmp_path))
    for sound in sounds():
        expected = reference(sound, sampling_rate=48_000, return_tensors="np")["input_features"][0, 0]
        samples, cut = ours.samples(Audio(sound.astype(np.float32), 48_000))
        got = ours.log_mel(samples)
        assert (got.shape, cut) == (expected.shape, 0)
        # in decibels; the reference computes with the doubles that the sound is here, ours comes in single
        loud = expected > -90
        assert np.abs(got - expected)[loud].max(initial=0) < 1e-4 * 40
        single = reference(
            sound.astype(np.float32).astype(np.float64), sampling_rate=48_000, return_tensors="np"
        )
        np.testing.assert_allclose(got, single["input_features"][0, 0], atol=1e-4)


SHAPES = [
    {},
    {"depths": [2, 2, 2], "num_attention_heads": [1, 2, 4], "window_size": 4, "spec_size": 32},
    {"spec_size": 40, "num_mel_bins": 10, "window_size": 4, "depths": [2, 2]},
    {"spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4], "window_size": 3},
]


@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_vectors_are_the_references(
    shape: dict, precision: torch.dtype, tolerance: float, tmp_path: Path
) -> None:
    theirs = make(tmp_path, **shape).to(precision)
    ours, about = load(tmp_path)
    assert isinstance(ours, Clap)
    assert [m.value for m in about.modalities] == ["text", "audio"]
    ours = ours.to(precision)
    c = ours.config.audio
    for frames in (c.frames, c.frames - 7, c.frames // 2):
        mel = 20 * torch.randn(3, frames, c.mels, dtype=precision) - 20
        expected = theirs.get_audio_features(input_features=mel[:, None]).pooler_output
        got = torch.nn.functional.normalize(ours.encode_audio(mel), dim=-1)
        assert float((got - expected).abs().max()) < tolerance
    ids = torch.randint(5, 300, (3, 17))
    mask = torch.arange(17) < torch.tensor([[17], [9], [1]])
    padded = ids.masked_fill(~mask, 1)
    expected = theirs.get_text_features(input_ids=padded, attention_mask=mask.long()).pooler_output
    got = torch.nn.functional.normalize(ours.encode_text(padded, mask), dim=-1)
    # the reference's text tower takes its softmax in single precision, whatever comes in
    assert float((got - expected).abs().max()) < max(tolerance, 2e-8)
    assert abs(about.logit_scale - float(theirs.logit_scale_a.exp())) < 1e-4


@torch.no_grad()
def test_attention_within_windows_is_recorded_and_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    ours, _ = load(tmp_path)
    assert isinstance(ours, Clap)
    mel = torch.randn(2, ours.config.audio.frames, 8)
    before = ours.encode_audio(mel)
    with record() as seen:
        after = ours.encode_audio(mel)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    shapes = [tuple(alpha.shape) for _, alpha in seen.weights]
    pooled = (2, 1, 1, 64)  # the mean over the grid: every place with the same weight
    assert shapes == [(2 * 16, 2, 16, 16), (2 * 16, 2, 16, 16), (2 * 4, 4, 16, 16), pooled]


def write(path: Path, samples: np.ndarray, rate: int) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def test_files_and_texts_are_embedded(tmp_path: Path) -> None:
    make(tmp_path, spec_size=96, patch_size=4, patch_stride=[4, 4])  # ten seconds need 1001 frames
    model = chiasm.load(tmp_path, device="cpu")
    files = [write(tmp_path / f"{n}.wav", sound, 48_000) for n, sound in enumerate(sounds()[:3])]
    vectors = model.embed(["a dog barks", *files, ["a dog", files[0]]])
    assert vectors.shape == (5, 12)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.embed([files[0]])[0], vectors[1], atol=1e-5)
    long = write(tmp_path / "long.wav", np.tile(sounds()[3], 2), 48_000)
    np.testing.assert_allclose(
        model.embed([long]), model.embed([write(tmp_path / "s.wav", sounds()[3], 48_000)]), atol=1e-3
    )
    with pytest.raises(InvalidInput, match="takes text, audio"):
        model.embed([__import__("PIL.Image").Image.new("RGB", (8, 8))])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_config": {"enable_fusion": True}}, "fusion_model"),
        ({"audio_config": {"windows": 3}}, "windows"),
        ({"audio_config": {"window_size": 64}}, "windows within"),
        ({"audio_config": {"depths": [2]}}, "stages"),
        ({"audio_config": {"depths": "many"}}, "depths"),
        ({"text_config": {"odd": 1}}, "odd"),
    ],
)
def test_what_would_be_computed_differently_is_refused(changes: dict, message: str, tmp_path: Path) -> None:
    make(tmp_path)
    manifest = json.loads((tmp_path / "config.json").read_text())
    for part, values in changes.items():
        manifest[part].update(values)
    (tmp_path / "config.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_tensors_and_steps_that_do_not_fit_are_named(tmp_path: Path) -> None:
    make(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    table = "audio_model.audio_encoder.layers.0.blocks.0.attention.self.relative_position_bias_table"
    save_file({**state, table: torch.zeros(5, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"stages\.0\.blocks\.0\.attention\.table: expected \[49, 2\]"):
        load(tmp_path)
    state.pop(table)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"attention\.table"):
        load(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**SOUND, "truncation": "fusion"}))
    with pytest.raises(CheckpointError, match="truncation"):
        load(tmp_path)
