"""A tiny random Whisper as model hubs hold it, written by ``transformers``, with a tokenizer for it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from chiasm.modality import Audio

TEXTS = ("the red apple is on the table", "猫在桌子上", "ein blaues Auto faehrt", "naïve café")
LANGUAGES = ("en", "zh", "de")
WINDOW_SECONDS = 2
POSITIONS = 40
SCALES = {"decoder.embed_positions": 1.0, "decoder.embed_tokens": 0.1}
"""Of the random numbers of some tensors: these make the tokens change from step to step."""


def sound(seconds: float, seed: int = 1, rate: int = 16_000) -> Audio:
    """A tone that rises and falls, and noise."""
    random = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate)) / rate
    tone = 0.4 * np.sin(2 * np.pi * (300 + 90 * np.sin(3 * times)) * times) * np.sin(2 * times + seed)
    return Audio((tone + 0.05 * random.standard_normal(len(times))).astype(np.float32), rate)


def make(folder: Path, *, english: bool = False, mels: int = 80, width: int = 32, seed: int = 7) -> Any:
    """Write a folder, of a model of ``english`` alone without languages and tasks; the reference model."""
    tokenizer = trained_tokenizer(english)
    number = tokenizer.token_to_id
    end, stop = number("<|endoftext|>"), number("<|notimestamps|>")
    torch.manual_seed(seed)
    config = transformers.WhisperConfig(
        vocab_size=stop + 1 + 50 * WINDOW_SECONDS + 1, num_mel_bins=mels, d_model=width,
        max_source_positions=50 * WINDOW_SECONDS, max_target_positions=POSITIONS,
        encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=52,
        decoder_layers=3, decoder_attention_heads=2, decoder_ffn_dim=44,
        pad_token_id=end, bos_token_id=end, eos_token_id=end,
        decoder_start_token_id=number("<|startoftranscript|>"),
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            if name != "encoder.embed_positions.weight":
                scale = SCALES.get(name.removesuffix(".weight"), 0.3)
                parameter.add_(scale * torch.randn_like(parameter))
    settings: dict[str, Any] = {
        "no_timestamps_token_id": stop,
        "suppress_tokens": [1, 5, 9, number("<|startoftranscript|>"), number("<|nospeech|>")],
        "begin_suppress_tokens": [220, end],
        "max_initial_timestamp_index": 20,
        "is_multilingual": not english,
        "max_length": POSITIONS,
        "return_timestamps": False,
    }
    if not english:
        settings["lang_to_id"] = {f"<|{name}|>": number(f"<|{name}|>") for name in LANGUAGES}
        settings["task_to_id"] = {name: number(f"<|{name}|>") for name in ("transcribe", "translate")}
    for key, value in settings.items():
        setattr(model.generation_config, key, value)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    transformers.WhisperFeatureExtractor(feature_size=mels, chunk_length=WINDOW_SECONDS).save_pretrained(
        folder
    )
    return model


def trained_tokenizer(english: bool = False) -> Tokenizer:
    """Byte-level BPE, then the special tokens in Whisper's order."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    special = ["endoftext", "startoftranscript", *(() if english else LANGUAGES), "translate", "transcribe",
               "startoflm", "startofprev", "nospeech", "notimestamps"]  # fmt: skip
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in special])
    return tokenizer


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None takes one away."""
    found = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
