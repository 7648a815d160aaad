"""GGUF files: the weights that went in, whatever they were packed as, and the tokenizer."""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from chiasm.checkpoints.gguf import load_gguf
from chiasm.errors import CheckpointError
from chiasm.models.llama.config import LlamaConfig
from chiasm.models.llama.model import Llama

CONFIG = LlamaConfig(
    vocabulary=262,
    positions=64,
    width=64,
    depth=2,
    heads=4,
    key_heads=2,
    head_width=16,
    hidden=96,
    base=5000.0,
)
NAMES = {
    "attention.query": "attn_q", "attention.key": "attn_k", "attention.value": "attn_v",
    "attention.output": "attn_output", "attention_norm": "attn_norm", "feed_forward_norm": "ffn_norm",
    "gate": "ffn_gate", "expand": "ffn_up", "contract": "ffn_down",
}  # fmt: skip


def theirs(name: str) -> str:
    if name.startswith("blocks."):
        _, number, rest = name.split(".", 2)
        part, _, kind = rest.rpartition(".")
        return f"blk.{number}.{NAMES[part]}.{kind}"
    return {"token.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]


def neighbours(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """As llama.cpp's converter lays out the rows of queries and keys."""
    return rows.view(heads, 2, len(rows) // heads // 2, -1).transpose(1, 2).reshape(rows.shape)


def alphabet() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def write(path: Path, model: Llama, packed: gguf.GGMLQuantizationType, **changes: object) -> None:
    writer = gguf.GGUFWriter(path, str(changes.get("architecture", "llama")))
    writer.add_eos_token_id(261)
    writer.add_context_length(CONFIG.positions)
    writer.add_embedding_length(CONFIG.width)
    writer.add_block_count(CONFIG.depth)
    writer.add_feed_forward_length(CONFIG.hidden)
    writer.add_head_count(CONFIG.heads)
    writer.add_head_count_kv(CONFIG.key_heads)
    writer.add_layer_norm_rms_eps(CONFIG.epsilon)
    writer.add_rope_freq_base(CONFIG.base)
    tokens = ["<|end|>", *alphabet(), "he", "ll", "hell", "hello", "\u0120hello"]
    writer.add_tokenizer_model(str(changes.get("tokenizer", "gpt2")))
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["h e", "l l", "he ll", "hell o", "\u0120 hello"])
    for name, tensor in model.state_dict().items():
        if name in changes.get("without", ()):  # type: ignore[operator]
            continue
        values = tensor
        if "attention.query" in name:
            values = neighbours(tensor, CONFIG.heads)
        elif "attention.key" in name:
            values = neighbours(tensor, CONFIG.key_heads)
        kind = packed if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(np.ascontiguousarray(values.numpy()), kind)
        writer.add_tensor(theirs(name), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def model() -> Llama:
    torch.manual_seed(3)
    made = Llama(CONFIG).eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize(
    ("packed", "tolerance"),
    [
        (gguf.GGMLQuantizationType.F32, 1e-5),
        (gguf.GGMLQuantizationType.F16, 0.05),
        (gguf.GGMLQuantizationType.Q8_0, 0.5),
    ],
)
def test_a_model_comes_back(
    model: Llama, tmp_path: Path, packed: gguf.GGMLQuantizationType, tolerance: float
) -> None:
    write(tmp_path / "tiny.gguf", model, packed)
    found, tokenizer, ends = load_gguf(tmp_path / "tiny.gguf")
    assert replace(found.config, epsilon=CONFIG.epsilon) == CONFIG  # kept in single precision
    ids = torch.randint(0, 260, (2, 9))
    assert float((found(ids) - model(ids)).abs().max()) < tolerance
    encoded = tokenizer.encode("hello hello<|end|>h12é")
    assert encoded.tokens == ["hello", "\u0120hello", "<|end|>", "h", "1", "2", "Ã", "©"]
    assert tokenizer.decode(encoded.ids) == "hello helloh12é"
    assert ends == (261,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "mamba"}, "architectures"),
        ({"tokenizer": "bert"}, "tokenizer"),
        ({"without": ("blocks.1.gate.weight",)}, r"blocks\.1\.gate\.weight"),
    ],
)
def test_what_does_not_fit_is_named(model: Llama, tmp_path: Path, changes: dict, message: str) -> None:
    write(tmp_path / "tiny.gguf", model, gguf.GGMLQuantizationType.F32, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_gguf(tmp_path / "tiny.gguf")


def test_what_is_no_gguf_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"GGUF", b"hello" * 99):
        (tmp_path / "x.gguf").write_bytes(data)
        with pytest.raises(CheckpointError, match="GGUF"):
            load_gguf(tmp_path / "x.gguf")
