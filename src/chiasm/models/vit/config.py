"""Shape of a Vision Transformer."""

from dataclasses import dataclass
from typing import Literal

from chiasm.nn.blocks import Activation

Pooling = Literal["class", "mean", "map"]


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """Defaults are ViT-B/16.

    Attributes:
        side, patch: pixels of the pictures it was trained on, and of a patch.
        pooling: what stands for the picture: the ``class`` token, the ``mean`` over patches, or ``map``, an
            attention pooling with a learnt query (Zhai et al. 2022, appendix C).
        class_token: whether there is one.
        norm_first: a layer normalisation before the first block (CLIP).
        norm_last: ``states`` normalises all tokens; ``pooled`` only what was pooled (CLIP).
        patch_bias: of the patches' projection.
        mean, std: of the channels, in [0, 1].
    """

    side: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    activation: Activation = "gelu"
    epsilon: float = 1e-12
    pooling: Pooling = "class"
    class_token: bool = True
    norm_first: bool = False
    norm_last: Literal["states", "pooled"] = "states"
    patch_bias: bool = True
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.side // self.patch
