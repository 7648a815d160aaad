"""Folders of published Whispers (the Hugging Face layout) → a model, its tokenizer, what its tokens mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from chiasm.checkpoints import layout
from chiasm.checkpoints.foreign import read_state, read_tokenizer
from chiasm.checkpoints.shapes import Table
from chiasm.checkpoints.storage import fill
from chiasm.errors import CheckpointError
from chiasm.models.whisper.config import WhisperConfig
from chiasm.models.whisper.frontend import HOP, RATE, SPAN
from chiasm.models.whisper.import_weights import convert
from chiasm.models.whisper.model import Whisper
from chiasm.models.whisper.tokens import SpeechTokens
from chiasm.settings import Precision

GENERATION = "generation_config.json"
# What says how to train or what other heads need, what follows from other keys, and what the tokens' own
# file says better.
_HARMLESS = """
    activation_dropout alignment_heads apply_spec_augment classifier_proj_size decoder_layerdrop
    encoder_layerdrop forced_decoder_ids init_std mask_feature_length mask_feature_min_masks
    mask_feature_prob mask_time_length mask_time_min_masks mask_time_prob median_filter_width
    num_hidden_layers use_weighted_layer_sum
"""


def load_whisper(
    folder: Path, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> tuple[Whisper, Tokenizer, SpeechTokens]:
    """Read a folder with ``config.json``, weights, ``tokenizer.json`` and ``generation_config.json``.

    Raises:
        CheckpointError: another family, unknown or impossible values, tensors that are missing, too many or
            of another shape, another way from sound to frames, a tokenizer that does not fit.
    """
    table = Table(layout.read_json(folder / layout.MANIFEST))
    table.expect("model_type", "whisper")
    config = whisper_config(table)
    _check_frames(folder, config)
    tokens = read_speech_tokens(folder, config.vocabulary)
    tokenizer = _tokenizer(folder, config, tokens)
    with torch.device("meta"):
        model = Whisper(config)
    model = fill(model, convert(read_state(folder)))
    return model.to(device, getattr(torch, precision)).eval().requires_grad_(False), tokenizer, tokens


def whisper_config(table: Table) -> WhisperConfig:
    """Whisper's."""
    table.expect("scale_embedding", False)
    table.expect("tie_word_embeddings", True)
    for key in _HARMLESS.split():
        table.skip(key)
    config = WhisperConfig(
        vocabulary=table.number("vocab_size", 51_865),
        mels=table.number("num_mel_bins", 80),
        frames=table.number("max_source_positions", 1500),
        positions=table.number("max_target_positions", 448),
        width=table.number("d_model", 384),
        encoder_depth=table.number("encoder_layers", 4),
        encoder_heads=table.number("encoder_attention_heads", 6),
        encoder_hidden=table.number("encoder_ffn_dim", 1536),
        decoder_depth=table.number("decoder_layers", 4),
        decoder_heads=table.number("decoder_attention_heads", 6),
        decoder_hidden=table.number("decoder_ffn_dim", 1536),
        activation=table.activation("gelu", "activation_function"),
    )
    table.finish()
    return config


def read_speech_tokens(folder: Path, vocabulary: int) -> SpeechTokens:
    """``generation_config.json``: what says how to sample or search is not read, as we do neither.

    Raises:
        CheckpointError: no such file, or tokens that are missing or not in the vocabulary.
    """
    if not (folder / GENERATION).is_file():
        raise CheckpointError(
            f"expected {GENERATION} in {folder}, which says what the tokens mean",
            f"{folder} 中应有 {GENERATION}，其中说明各标记的含义",
            param=GENERATION,
        )
    found = layout.read_json(folder / GENERATION)
    table = Table(found, GENERATION)
    ids = {
        key: _ids(table, found, key, vocabulary)
        for key in (
            "decoder_start_token_id",
            "eos_token_id",
            "no_timestamps_token_id",
            "suppress_tokens",
            "begin_suppress_tokens",
        )
    }
    for key in ("decoder_start_token_id", "eos_token_id", "no_timestamps_token_id"):
        if len(ids[key]) != 1:
            raise table.bad(key, "the number of a token", "一个标记的编号", found.get(key))
    languages = _named(table, found, "lang_to_id", vocabulary)
    tasks = _named(table, found, "task_to_id", vocabulary)
    if languages and "transcribe" not in tasks:
        raise table.bad(
            "task_to_id", "transcribe among the tasks", "包含 transcribe", found.get("task_to_id")
        )
    return SpeechTokens(
        start=ids["decoder_start_token_id"][0],
        end=ids["eos_token_id"][0],
        no_timestamps=ids["no_timestamps_token_id"][0],
        languages={name.strip("<|>"): number for name, number in languages.items()},
        tasks=tasks if languages else {},
        suppressed=ids["suppress_tokens"],
        first_suppressed=ids["begin_suppress_tokens"],
        latest_first=(
            table.number("max_initial_timestamp_index", 0)
            if found.get("max_initial_timestamp_index") is not None
            else None
        ),
        most=table.number("max_length", 448),
    )


def _ids(table: Table, found: Mapping[str, Any], key: str, vocabulary: int) -> Sequence[int]:
    """One token or several; none without the key."""
    value = found.get(key)
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(type(one) is int and 0 <= one < vocabulary for one in ids):
        raise table.bad(key, f"tokens below {vocabulary}", f"小于 {vocabulary} 的标记", value)
    return tuple(ids)


def _named(table: Table, found: Mapping[str, Any], key: str, vocabulary: int) -> Mapping[str, int]:
    """Tokens by name; none without the key."""
    named = found.get(key) or {}
    if not isinstance(named, dict):
        raise table.bad(key, "a table", "一个表", named)
    return {name: _ids(table, {key: number}, key, vocabulary)[0] for name, number in named.items()}


def _check_frames(folder: Path, config: WhisperConfig) -> None:
    """Whether sound is prepared as :mod:`chiasm.models.whisper.frontend` does it; without a file, it is."""
    path, within = folder / "preprocessor_config.json", False
    if not path.is_file():
        path, within = folder / "processor_config.json", True
    if not path.is_file():
        return
    table = Table(layout.read_json(path), path.name)
    if within:
        table = table.table("feature_extractor")
    for key, value in (
        ("sampling_rate", RATE),
        ("n_fft", SPAN),
        ("hop_length", HOP),
        ("feature_size", config.mels),
        ("chunk_length", config.window * HOP // RATE),
        ("dither", 0.0),
        ("do_normalize", False),
    ):
        table.expect(key, value)


def _tokenizer(folder: Path, config: WhisperConfig, tokens: SpeechTokens) -> Tokenizer:
    raw, _ = read_tokenizer(folder, config.positions)
    try:
        tokenizer = Tokenizer.from_buffer(raw)
    except Exception as error:  # the binding raises bare Exception
        raise CheckpointError(
            f"tokenizer.json: expected the JSON of a tokenizer, got: {error}",
            f"tokenizer.json：应为分词器的 JSON，实际为：{error}",
            param="tokenizer.json",
        ) from error
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    wanted = {
        "<|startoftranscript|>": tokens.start,
        "<|endoftext|>": tokens.end,
        "<|notimestamps|>": tokens.no_timestamps,
        **{f"<|{name}|>": number for name, number in {**tokens.languages, **tokens.tasks}.items()},
    }
    wrong = sorted(name for name, number in wanted.items() if tokenizer.token_to_id(name) != number)
    if largest >= config.vocabulary or wrong:
        got = f"{wrong[0]} as {tokenizer.token_to_id(wrong[0])}" if wrong else f"ids up to {largest}"
        raise CheckpointError(
            f"tokenizer: expected ids below {config.vocabulary} and the tokens of {GENERATION}, got {got}: "
            "it is another model's",
            f"分词器的编号应小于 {config.vocabulary} 且与 {GENERATION} 一致，实际为 {got}：它属于别的模型",
            param="tokenizer.json",
        )
    return tokenizer
