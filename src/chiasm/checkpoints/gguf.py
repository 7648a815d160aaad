"""Language models as llama.cpp keeps them: one GGUF file with weights, shape, tokenizer (extra ``gguf``)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from chiasm.checkpoints.storage import fill
from chiasm.errors import CheckpointError
from chiasm.models.llama.config import LlamaConfig
from chiasm.models.llama.model import Llama
from chiasm.models.renaming import Rule, rename

ARCHITECTURES = ("llama",)
_CONTROL = 3  # the kind of tokens that are not text
_RULES: tuple[Rule, ...] = (
    (r"token_embd\.weight", "token.weight"),
    (r"output_norm\.weight", "norm.weight"),
    *(
        (rf"blk\.(\d+)\.{theirs}\.(weight|bias)", rf"blocks.\1.{ours}.\2")
        for theirs, ours in (
            ("attn_q", "attention.query"),
            ("attn_k", "attention.key"),
            ("attn_v", "attention.value"),
            ("attn_output", "attention.output"),
            ("attn_norm", "attention_norm"),
            ("ffn_norm", "feed_forward_norm"),
            ("ffn_gate", "gate"),
            ("ffn_up", "expand"),
            ("ffn_down", "contract"),
        )
    ),
)
_SPLIT: Mapping[str, tuple[str, ...]] = {
    # how text is cut before pairs are merged, by llama.cpp's name of it
    "smollm": (r"\p{N}",),
    "gpt-2": (),
}
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def load_gguf(path: Path) -> tuple[Llama, Tokenizer, tuple[int, ...]]:
    """A decoder in float32, its tokenizer, and the tokens that end a text.

    Raises:
        CheckpointError: not a GGUF file, another architecture, or tensors that do not fit; or the ``gguf``
            package is missing.
    """
    reader = _reader(path)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    kind = facts.get("general.architecture")
    if kind not in ARCHITECTURES:
        raise _bad(
            path, f"one of the architectures {list(ARCHITECTURES)}", f"架构 {list(ARCHITECTURES)} 之一", kind
        )
    names = {tensor.name for tensor in reader.tensors}
    config = _config(path, facts, tied="output.weight" not in names)
    with torch.device("meta"):
        model = Llama(config)
    fill(model, _state(reader.tensors, config))
    ends = (facts.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot"))
    numbers = tuple(dict.fromkeys(int(one) for one in ends if isinstance(one, int)))
    return model.eval().requires_grad_(False), _tokenizer(path, facts), numbers


def _reader(path: Path) -> Any:
    try:
        import gguf  # noqa: PLC0415
    except ImportError as error:
        raise CheckpointError(
            "expected the package gguf; install chiasm[gguf]",
            "缺少 gguf 包；请安装 chiasm[gguf]",
            param="model.source",
        ) from error
    try:
        return gguf.GGUFReader(path)
    except (ValueError, OSError, IndexError, KeyError) as error:
        raise _bad(path, "a GGUF file", " GGUF 文件", str(error)) from error


def _config(path: Path, facts: Mapping[str, Any], *, tied: bool) -> LlamaConfig:
    def number(name: str, default: float | None = None) -> Any:
        value = facts.get(f"llama.{name}", default)
        if not isinstance(value, int | float):
            raise _bad(path, f"llama.{name}", f" llama.{name}", value)
        return value

    scaling = facts.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise _bad(path, "plain rotary positions", "未缩放的旋转位置", scaling)
    heads, width = int(number("attention.head_count")), int(number("embedding_length"))
    return LlamaConfig(
        vocabulary=len(facts.get("tokenizer.ggml.tokens", ())),
        positions=int(number("context_length")),
        width=width,
        depth=int(number("block_count")),
        heads=heads,
        key_heads=int(number("attention.head_count_kv", heads)),
        head_width=int(number("attention.key_length", width // heads)),
        hidden=int(number("feed_forward_length")),
        base=float(number("rope.freq_base", 10_000.0)),
        epsilon=float(number("attention.layer_norm_rms_epsilon")),
        tied=tied,
    )


def _state(tensors: Any, config: LlamaConfig) -> dict[str, Tensor]:
    from gguf.quants import dequantize  # noqa: PLC0415

    state: dict[str, Tensor] = {}
    for tensor in tensors:
        values = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), np.float32))
        if ".attn_q." in tensor.name:
            values = _halves(values, config.heads)
        elif ".attn_k." in tensor.name:
            values = _halves(values, config.key_heads)
        state[tensor.name] = values
    return rename(state, _RULES)


def _halves(rows: Tensor, heads: int) -> Tensor:
    """llama.cpp turns neighbouring components, the published weights those half a head apart."""
    return rows.view(heads, len(rows) // heads // 2, 2, -1).transpose(1, 2).reshape(rows.shape)


def _tokenizer(path: Path, facts: Mapping[str, Any]) -> Tokenizer:
    """Byte-level BPE, as GPT-2's."""
    kind, before = facts.get("tokenizer.ggml.model"), facts.get("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or before not in _SPLIT:
        raise _bad(
            path,
            f"a byte-level tokenizer split as one of {list(_SPLIT)}",
            f"字节级分词器，切分为 {list(_SPLIT)} 之一",
            (kind, before),
        )
    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ", 1)) for pair in facts.get("tokenizer.ggml.merges", ())]
    tokenizer = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate(tokens)}, merges=merges))
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in _SPLIT[before]]
    whole = [
        pre_tokenizers.Split(Regex(_GPT2), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cuts, *whole])
    tokenizer.decoder = decoders.ByteLevel()
    kinds = facts.get("tokenizer.ggml.token_type", ())
    special = [token for token, of in zip(tokens, kinds, strict=False) if of == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def _bad(path: Path, wanted: str, wanted_zh: str, got: object) -> CheckpointError:
    return CheckpointError(
        f"{path.name}: expected {wanted}, got {got!r}",
        f"{path.name}：应为{wanted_zh}，实际为 {got!r}",
        param=path.name,
    )
