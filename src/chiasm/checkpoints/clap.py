"""What folders of published CLAPs (the Hugging Face layout) say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chiasm.checkpoints import layout
from chiasm.checkpoints.shapes import Table, bert_config
from chiasm.errors import CheckpointError
from chiasm.models.clap.config import ClapConfig, SwinConfig
from chiasm.preprocess.config import AudioPreprocess

PREPROCESSOR = "preprocessor_config.json"
UNUSED_POSITIONS = 2
"""Of a RoBERTa: positions are counted from behind the number of its padding token."""
_FOLLOWS = {  # from other keys, or is for training and for heads that are not here
    "audio": (
        "aff_block_r", "drop_path_rate", "fusion_type", "hidden_size", "num_classes", "num_hidden_layers",
        "projection_dim", "projection_hidden_act",
    ),
    "text": ("projection_dim", "projection_hidden_act"),
    "": ("hidden_size", "num_hidden_layers"),
}  # fmt: skip


def is_fused(manifest: Mapping[str, Any]) -> bool:
    """Whether long sounds are read in several pieces at once, which ours does not."""
    audio = manifest.get("audio_config")
    return isinstance(audio, Mapping) and audio.get("enable_fusion") is True


def clap_config(table: Table) -> ClapConfig:
    """CLAP's; one that fuses several views of long sound is refused."""
    audio, text = table.table("audio_config"), table.table("text_config")
    for of, inner in (("audio", audio), ("text", text), ("", table)):
        for key in _FOLLOWS[of]:
            inner.skip(key)
    audio.expect("enable_fusion", False)
    audio.expect("patch_embed_input_channels", 1)
    audio.expect("flatten_patch_embeds", True)
    audio.expect("enable_patch_layer_norm", True)
    audio.expect("qkv_bias", True)
    patch = audio.number("patch_size", 4)
    audio.expect("patch_stride", [patch, patch], patch)
    try:
        swin = SwinConfig(
            mels=audio.number("num_mel_bins", 64),
            side=audio.number("spec_size", 256),
            patch=patch,
            width=audio.number("patch_embeds_hidden_size", 96),
            depths=audio.numbers("depths", (2, 2, 6, 2)),
            heads=audio.numbers("num_attention_heads", (4, 8, 16, 32)),
            window=audio.number("window_size", 8),
            ratio=audio.real("mlp_ratio", 4.0),
            activation=audio.activation("gelu"),
            epsilon=audio.real("layer_norm_eps", 1e-5),
        )
    except ValueError as error:
        raise CheckpointError(
            f"config.json: audio_config: {error}",
            f"config.json：audio_config 的形状无法成立：{error}",
            param="audio_config",
        ) from error
    audio.finish()
    config = ClapConfig(
        audio=swin,
        text=bert_config(text, unused_positions=UNUSED_POSITIONS),
        dim=table.number("projection_dim", 512),
        activation=table.activation("relu", "projection_hidden_act"),
    )
    table.finish()
    return config


def sound_numbers(folder: Path) -> AudioPreprocess:
    """``preprocessor_config.json``: how sound becomes frames. Long sound is cut where published ones take a
    stretch at random.

    Raises:
        CheckpointError: steps that we do not take.
    """
    path = folder / PREPROCESSOR
    table = Table(layout.read_json(path) if path.is_file() else {}, PREPROCESSOR)
    table.expect("truncation", "rand_trunc")
    padding = table.text("padding", "repeatpad")
    if padding not in {"repeatpad", "pad"}:
        raise table.bad("padding", "repeatpad or pad", " repeatpad 或 pad", padding)
    fft = table.number("fft_window_size", 1024)
    seconds = float(table.number("max_length_s", 10))
    return AudioPreprocess(
        rate=table.number("sampling_rate", 48_000),
        window=fft,
        fft=fft,
        hop=table.number("hop_length", 480),
        mels=table.number("feature_size", 64),
        fmin=table.real("frequency_min", 0.0),
        fmax=table.real("frequency_max", 14_000.0),
        min_seconds=seconds,
        max_seconds=seconds,
        floor=1e-10,
        decibels=True,
        reflect=True,
        repeat=padding == "repeatpad",
    )
