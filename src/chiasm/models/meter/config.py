"""Shape of a METER and of its heads."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from chiasm.models.bert.config import BertConfig
from chiasm.models.vit.config import VitConfig
from chiasm.nn.blocks import Activation, BlockConfig

Fusion = Literal["co", "merged"]
Kind = Literal["encoder", "encoder-decoder"]


def _vision() -> VitConfig:
    return VitConfig(
        depth=11,  # the last of CLIP's twelve blocks is left out
        activation="quick_gelu",
        epsilon=1e-5,
        norm_first=True,
        patch_bias=False,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
    )


def _text() -> BertConfig:
    return BertConfig(vocabulary=50_265, token_types=1, width=768, depth=12, hidden=3072, epsilon=1e-5)


@dataclass(frozen=True, kw_only=True)
class MeterConfig:
    """Defaults are METER as it was published: CLIP-ViT-B/16, RoBERTa-base, co-attention (Dou et al. 2022,
    sec. 3.3).

    Attributes:
        vision, text: the encoders; their widths may differ.
        width, heads, hidden, activation, epsilon: of the blocks that fuse, post-norm as BERT's.
        depth: how many of them: a pair of them, one for each side, counts once.
        fusion: ``co``: each side looks at itself, then at the other. ``merged``: texts and pictures are one
            sequence that looks at itself (fig. 2).
        kind: ``encoder``: heads read the fused states. ``encoder-decoder``: a decoder that looks across to
            them also writes a text (fig. 3).
        decoder_depth: blocks of that decoder.
        types: what a position can be of: 0 is the text, 1 a picture, 2 the second of two pictures.

    Raises:
        ValueError: the parts do not fit together.
    """

    vision: VitConfig = field(default_factory=_vision)
    text: BertConfig = field(default_factory=_text)
    width: int = 768
    heads: int = 12
    hidden: int = 3072
    activation: Activation = "gelu"
    epsilon: float = 1e-12
    depth: int = 6
    fusion: Fusion = "co"
    kind: Kind = "encoder"
    decoder_depth: int = 6
    types: int = 2

    def __post_init__(self) -> None:
        if self.fusion not in get_args(Fusion):
            raise ValueError(f"expected one of {get_args(Fusion)}, got {self.fusion!r}")
        if self.kind not in get_args(Kind):
            raise ValueError(f"expected one of {get_args(Kind)}, got {self.kind!r}")
        if not self.vision.class_token or self.vision.pooling != "class":
            raise ValueError("expected a ViT whose class token stands for a picture, got one without")
        if self.vision.norm_last != "states":
            raise ValueError(f"expected a ViT that normalises all states, got {self.vision.norm_last!r}")
        if self.depth < 1 or self.decoder_depth < 1:
            raise ValueError(
                f"expected at least one block to fuse and one to decode, "
                f"got {self.depth} and {self.decoder_depth}"
            )
        if self.types < 2:
            raise ValueError(f"expected at least 2 types, of texts and of pictures, got {self.types}")

    def block(self, *, across: bool) -> BlockConfig:
        """Shape of a block that fuses or decodes; ``across``: it also looks at another sequence."""
        return BlockConfig(
            width=self.width,
            heads=self.heads,
            hidden=self.hidden,
            norm="post",
            activation=self.activation,
            epsilon=self.epsilon,
            context_width=self.width if across else None,
        )


@dataclass(frozen=True, kw_only=True)
class MeterHeadsConfig:
    """Which heads there are (Dou et al. 2022, sec. 3.2 and 4).

    Attributes:
        words: the words that were masked (MLM).
        matching: whether text and picture belong together, yes or no (ITM).
        ranking: how well they do, as one number, fine-tuned for retrieval.
        answers: to questions about a picture (VQA), by name; none without that head.
        verdicts: on a sentence about two pictures (NLVR2), by name; none without that head.
        entailment: what a picture says of a sentence (SNLI-VE), by name; none without that head.
    """

    words: bool = False
    matching: bool = False
    ranking: bool = False
    answers: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    entailment: tuple[str, ...] = ()

    @property
    def compared(self) -> int:
        """How many pictures a verdict is about."""
        return 2
