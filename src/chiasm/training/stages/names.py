"""What pictures of one thing are to be near to: its name, its Chinese name, its keywords."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from chiasm.nn.losses import anchored_cross_entropy, each_positive


@dataclass(frozen=True, kw_only=True)
class NameTargets:
    """Unit vectors of the text tower.

    Attributes:
        names: [n, d] of all training names: m concepts first, then titles.
        chinese: [m, d] of the concepts' Chinese names.
        keywords: [k, d] of the concepts' English keywords; keyword_of: bool [m, k].
    """

    names: NDArray[np.float32]
    chinese: NDArray[np.float32]
    keywords: NDArray[np.float32]
    keyword_of: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class NameLossConfig:
    """``scale`` of the cosines, label ``smoothing`` of names, and the weights beside that of the name, 1."""

    scale: float = 25.0
    smoothing: float = 0.05
    chinese_weight: float = 0.5
    keyword_weight: float = 0.3


class NameLosses:
    """The targets on a device. Cross-entropy against all names, all Chinese names, all keywords."""

    def __init__(self, targets: NameTargets, config: NameLossConfig, device: torch.device) -> None:
        self.config = config
        self.names = torch.from_numpy(targets.names).to(device)
        self.chinese = torch.from_numpy(targets.chinese).to(device)
        self.keywords = torch.from_numpy(targets.keywords).to(device)
        self.keyword_of = torch.from_numpy(targets.keyword_of).to(device)

    def name(self, vectors_bd: Tensor, label_b: Tensor) -> Tensor:
        """Of the names alone."""
        c = self.config
        return anchored_cross_entropy(vectors_bd, self.names, label_b, c.scale, c.smoothing)

    def __call__(self, vectors_bd: Tensor, label_b: Tensor) -> dict[str, Tensor]:
        """All three, weighted. Of titles neither a Chinese name nor keywords are known."""
        c = self.config
        known = label_b < len(self.chinese)
        z, own = F.normalize(vectors_bd[known], dim=-1), label_b[known]
        return {
            "names": self.name(vectors_bd, label_b),
            "chinese": c.chinese_weight * anchored_cross_entropy(z, self.chinese, own, c.scale, c.smoothing),
            "keywords": c.keyword_weight * each_positive(c.scale * z @ self.keywords.T, self.keyword_of[own]),
        }
