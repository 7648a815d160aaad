"""Contrast with many negatives: a memory of former vectors (Wu et al. 2018, sec. 3.1 and 3.2), and
noise-contrastive estimation over it (Gutmann & Hyvärinen 2010)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-7


class MemoryBank(nn.Module):
    """The latest vector of each of ``items`` things, a running mean that is kept at length 1.

    Args:
        momentum: weight of what was there before.
    """

    def __init__(self, items: int, dim: int, momentum: float = 0.5) -> None:
        super().__init__()
        self.momentum = momentum
        bound = (3 / dim) ** 0.5  # of length 1 on average
        self.register_buffer("rows", torch.empty(items, dim).uniform_(-bound, bound))
        self.rows: Tensor

    def scores(self, vectors_bd: Tensor, places_bk: Tensor) -> Tensor:
        """Cosines ``[b, k]`` of vectors with these rows each; no gradient flows to the memory."""
        return torch.einsum("bkd,bd->bk", self.rows[places_bk].detach(), vectors_bd)

    @torch.no_grad()
    def update(self, places_b: Tensor, vectors_bd: Tensor) -> None:
        """Move rows towards the vectors that these things have now."""
        mixed = self.momentum * self.rows[places_b] + (1 - self.momentum) * vectors_bd.to(self.rows.dtype)
        self.rows[places_b] = F.normalize(mixed, dim=-1)


def draw(own_b: Tensor, items: int, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Places ``[b, 1 + count]``: a thing's own, then of any things, each as likely, perhaps its own again."""
    others = torch.randint(items, (len(own_b), count), generator=generator, device="cpu").to(own_b.device)
    return torch.cat([own_b[:, None], others], dim=1)


class NoiseContrast(nn.Module):
    """Whether a pair is real or noise, decided for each by itself (Tian et al. 2019, eq. 12 to 14).

    The probabilities are ``exp(score) / Z``, with a Z that the first batch gives and that is constant then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("z", torch.tensor(-1.0, dtype=torch.float64))
        self.z: Tensor

    def forward(self, scores_bk: Tensor, items: int) -> Tensor:
        """The loss of scores ``[b, 1 + m]``, already divided by the temperature, the right one first.

        Args:
            items: things that noise is drawn from, each as likely.
        """
        likelihood = scores_bk.exp()
        if self.z < 0:
            self.z.copy_(likelihood.detach().mean() * items)
        p_bk = likelihood / self.z.to(scores_bk.dtype)
        noise = (scores_bk.shape[1] - 1) / items
        real = (p_bk[:, 0] / (p_bk[:, 0] + noise + EPSILON)).log()
        false = (noise / (p_bk[:, 1:] + noise + EPSILON)).log()
        return -(real.sum() + false.sum()) / len(scores_bk)


def first_is_right(scores_bk: Tensor) -> Tensor:
    """Cross-entropy of finding the first among all (van den Oord et al. 2018, eq. 4)."""
    return F.cross_entropy(scores_bk, torch.zeros(len(scores_bk), dtype=torch.long, device=scores_bk.device))
