"""Shapes of a CLAP (Wu et al. 2023) and of its audio tower, HTS-AT (Chen et al. 2022), a Swin."""

from dataclasses import dataclass

from chiasm.models.bert.config import BertConfig
from chiasm.nn.blocks import Activation


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """A Swin (Liu et al. 2021) over log-mel frames.

    Attributes:
        mels: bands. side: of the square picture that the frames are laid out as; a multiple of ``mels``.
        patch: side of a patch. width: of the first stage; each further one is twice as wide.
        depths, heads: of each stage; odd blocks look through shifted windows.
        window: side of a window, in patches.
        ratio: of a feed-forward layer's hidden width to the stage's.
    """

    mels: int = 64
    side: int = 256
    patch: int = 4
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 8
    ratio: float = 4.0
    activation: Activation = "gelu"
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        last = self.side // max(1, self.patch) >> (len(self.depths) - 1)
        if not self.depths or len(self.depths) != len(self.heads) or self.window > last:
            raise ValueError(
                f"expected heads for each of {len(self.depths)} stages, and windows within the last one's "
                f"{last} x {last} patches, got {len(self.heads)} and {self.window}"
            )
        if not self.mels or self.side % self.mels or self.side % self.patch:
            raise ValueError(
                f"expected a side that {self.mels} mels and patches of {self.patch} divide, got {self.side}"
            )

    @property
    def rows(self) -> int:
        """How many stretches of the sound lie above each other in the picture."""
        return self.side // self.mels

    @property
    def frames(self) -> int:
        """That the picture has room for; fewer are stretched."""
        return self.side * self.rows

    @property
    def last_width(self) -> int:
        """Of the last stage, and so of the tower's vector."""
        return self.width << (len(self.depths) - 1)


@dataclass(frozen=True, kw_only=True)
class ClapConfig:
    """Both towers; ``dim``: of the vectors; ``activation``: within the projections."""

    audio: SwinConfig
    text: BertConfig
    dim: int = 512
    activation: Activation = "relu"
