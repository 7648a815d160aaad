"""Shape of a BERT encoder."""

from dataclasses import dataclass

from chiasm.nn.blocks import Activation


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Defaults are MiniLM-L6-H384 (Wang et al. 2020)."""

    vocabulary: int = 30_522
    positions: int = 512
    token_types: int = 2
    width: int = 384
    depth: int = 6
    heads: int = 12
    hidden: int = 1536
    activation: Activation = "gelu"
    epsilon: float = 1e-12
