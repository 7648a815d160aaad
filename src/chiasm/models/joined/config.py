"""Shape of a joined ViT and BERT."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from chiasm.models.bert.config import BertConfig
from chiasm.models.vit.config import VitConfig

Joining = Literal["concatenated", "crossed"]
Trunk = Literal["vit", "bert"]


def _base_bert() -> BertConfig:
    return BertConfig(width=768, depth=12, hidden=3072)


@dataclass(frozen=True, kw_only=True)
class JoinedConfig:
    """Defaults are ViT-B/16 and BERT-base.

    Attributes:
        vision, text: the two that are joined; of one width.
        joining: ``concatenated``: patches and tokens are one sequence, each looks at all of it. ``crossed``:
            each side looks at itself, then at the other.
        trunk: whose blocks read the one sequence (``concatenated``): pre-norm ViT's or post-norm BERT's.
        crossed_depth: how many of the last blocks of either side look across (``crossed``); all of the
            shallower one if None.

    Raises:
        ValueError: the parts do not fit together.
    """

    vision: VitConfig = field(default_factory=VitConfig)
    text: BertConfig = field(default_factory=_base_bert)
    joining: Joining = "concatenated"
    trunk: Trunk = "vit"
    crossed_depth: int | None = None

    def __post_init__(self) -> None:
        if self.vision.width != self.text.width:
            raise ValueError(
                f"expected a ViT and a BERT of one width, got {self.vision.width} and {self.text.width}"
            )
        if self.joining not in get_args(Joining):
            raise ValueError(f"expected one of {get_args(Joining)}, got {self.joining!r}")
        if self.trunk not in get_args(Trunk):
            raise ValueError(f"expected one of {get_args(Trunk)}, got {self.trunk!r}")
        deepest = min(self.vision.depth, self.text.depth)
        if self.crossed_depth is not None and not 1 <= self.crossed_depth <= deepest:
            raise ValueError(f"expected 1 to {deepest} crossed blocks, got {self.crossed_depth}")

    @property
    def width(self) -> int:
        """Of all states."""
        return self.vision.width

    @property
    def crossed(self) -> int:
        """How many blocks of either side look across."""
        if self.crossed_depth is not None:
            return self.crossed_depth
        return min(self.vision.depth, self.text.depth)

    @property
    def depth(self) -> int:
        """Blocks of the common trunk."""
        return self.vision.depth if self.trunk == "vit" else self.text.depth
