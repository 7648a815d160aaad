"""Shape of a CLIP-like pair of towers."""

from dataclasses import dataclass

from chiasm.models.bert.config import BertConfig
from chiasm.models.vit.config import VitConfig
from chiasm.nn.blocks import Activation


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """A text tower of pre-norm blocks; defaults are CLIP ViT-B/32's.

    Attributes:
        causal: each token sees those before it (CLIP), or all see all (SigLIP).
        padded: every text is filled up with ``padding`` to ``positions`` tokens, which are looked at like
            others, and its last one stands for it (SigLIP); else the last real token does.
    """

    vocabulary: int = 49_408
    positions: int = 77
    width: int = 512
    depth: int = 12
    heads: int = 8
    hidden: int = 2048
    activation: Activation = "quick_gelu"
    epsilon: float = 1e-5
    causal: bool = True
    padded: bool = False
    padding: int = 0


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Both towers. ``dim`` is the width of the common space.

    Attributes:
        text: a :class:`TextConfig`, or BERT's for Chinese-CLIP (whose [CLS] token stands for the text).
        image_projection: whether the picture's vector is mapped into the common space (SigLIP's is in it).
        text_bias: of the text's projection.
    """

    vision: VitConfig
    text: TextConfig | BertConfig
    dim: int = 512
    image_projection: bool = True
    text_bias: bool = False

    @property
    def sigmoid(self) -> bool:
        """Whether it learnt as a SigLIP, by asking of every pair whether it is one."""
        return isinstance(self.text, TextConfig) and self.text.padded
