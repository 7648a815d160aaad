"""Shape of a GPT-2."""

from dataclasses import dataclass

from chiasm.nn.blocks import Activation


@dataclass(frozen=True, kw_only=True)
class GptConfig:
    """Defaults are the smallest GPT-2's."""

    vocabulary: int = 50_257
    positions: int = 1024
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    activation: Activation = "gelu_tanh"
    epsilon: float = 1e-5
