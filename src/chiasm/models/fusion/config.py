"""Which encoders are fused, and how."""

from dataclasses import dataclass
from typing import Literal, get_args

from chiasm.models.bert.config import BertConfig
from chiasm.models.vit.config import VitConfig
from chiasm.nn.blocks import BlockConfig
from chiasm.nn.fusion import Combining

FusionKind = Literal["early", "late", "hierarchical"]
Missing = Literal["vector", "renormalise"]


@dataclass(frozen=True, kw_only=True)
class StatesConfig:
    """An encoder that runs elsewhere: its states are the input, from one layer or from several."""

    width: int
    depth: int = 1


EncoderConfig = VitConfig | BertConfig | StatesConfig


@dataclass(frozen=True, kw_only=True)
class SideConfig:
    """One modality.

    Attributes:
        name: by which its input is given.
        pooling: what stands for it in late fusion: the ``mean`` of its real states, or the ``first``.
        layers: which of its layers the blocks of a hierarchical fusion look at, counted from 1; evenly
            spaced up to the last if None.
    """

    name: str
    encoder: EncoderConfig
    pooling: Literal["mean", "first"] = "mean"
    layers: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """Two or more modalities and the fusion of them.

    Attributes:
        kind: ``early``: all states are one sequence before a common trunk. ``late``: each modality is pooled,
            then ``combining`` makes one vector. ``hierarchical``: learnt queries look at several layers of
            every encoder.
        missing: what a modality that is not there leaves: a learnt ``vector``, or nothing, and the others
            ``renormalise``.
        width, heads, hidden, depth: of the trunk or of the fused stream; late fusion has only a width, and
            ``hidden`` of its MLP.
        local_depth: blocks of each modality by itself before an early trunk (local, then global).
        rank: of the bilinear combination. queries: of the hierarchical stream.

    Raises:
        ValueError: the parts do not fit together.
    """

    sides: tuple[SideConfig, ...]
    kind: FusionKind = "early"
    combining: Combining = "gate"
    missing: Missing = "vector"
    width: int = 384
    heads: int = 6
    hidden: int = 1536
    depth: int = 4
    local_depth: int = 0
    rank: int = 4
    queries: int = 8

    def __post_init__(self) -> None:
        names = [side.name for side in self.sides]
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(f"expected two or more modalities of different names, got {names}")
        for value, kinds in (
            (self.kind, FusionKind),
            (self.combining, Combining),
            (self.missing, Missing),
        ):
            if value not in get_args(kinds):
                raise ValueError(f"expected one of {get_args(kinds)}, got {value!r}")
        if self.kind == "late" and self.combining == "mlp" and self.missing == "renormalise":
            raise ValueError("expected a vector for what is missing: an MLP has nothing to renormalise")
        if self.kind == "hierarchical":
            for side in self.sides:
                self.layers_of(side)

    @property
    def block(self) -> BlockConfig:
        """Shape of a block of the fusion."""
        return BlockConfig(width=self.width, heads=self.heads, hidden=self.hidden)

    def layers_of(self, side: SideConfig) -> tuple[int, ...]:
        """The layer of this encoder that each block looks at, counted from 1."""
        deepest = side.encoder.depth
        layers = side.layers
        if layers is None:
            layers = tuple(max(1, round((n + 1) * deepest / self.depth)) for n in range(self.depth))
        if len(layers) != self.depth or not all(1 <= layer <= deepest for layer in layers):
            raise ValueError(f"expected {self.depth} layers of {side.name} from 1 to {deepest}, got {layers}")
        return layers
