"""Shape of a Llama."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """Defaults are SmolLM2-135M's.

    Attributes:
        key_heads: of keys and values, each shared by ``heads / key_heads`` of queries (Ainslie et al. 2023).
        head_width: d_k; ``width / heads`` in most.
        base: of the rotary angles.
        tied: whether the token embedding is the output layer, too.
        bias: of the maps to queries, keys and values (Qwen 2).
    """

    vocabulary: int = 49_152
    positions: int = 8192
    width: int = 576
    depth: int = 30
    heads: int = 9
    key_heads: int = 3
    head_width: int = 64
    hidden: int = 1536
    base: float = 100_000.0
    epsilon: float = 1e-5
    tied: bool = True
    bias: bool = False
