"""Contrastive multiview coding (Tian et al. 2019): an encoder a view, and what is the same in all views."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.cmc.config import CmcConfig
from chiasm.nn.contrast import MemoryBank, NoiseContrast, draw, first_is_right


class Cmc(nn.Module):
    """Encoders by view, and the contrast between their vectors.

    Args:
        encoders: one for each view, to vectors ``[b, dim]`` of any length.

    Raises:
        ValueError: other views than the configuration's.
    """

    def __init__(self, config: CmcConfig, encoders: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if set(encoders) != set(config.views):
            raise ValueError(f"expected encoders of {sorted(config.views)}, got those of {sorted(encoders)}")
        self.config = config
        self.encoders = nn.ModuleDict({view: encoders[view] for view in config.views})
        self.banks = nn.ModuleDict()
        if config.negatives == "memory":
            self.banks.update(
                {view: MemoryBank(config.items, config.dim, config.momentum) for view in config.views}
            )
        ways = [f"{a}>{b}" for pair in config.pairs() for a, b in (pair, pair[::-1])]
        self.noise = nn.ModuleDict({way: NoiseContrast() for way in ways if config.objective == "nce"})

    def forward(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Unit vectors ``[b, dim]`` of each view that is given.

        Raises:
            ValueError: a view that there is no encoder for.
        """
        unknown = sorted(set(views) - set(self.config.views))
        if unknown or not views:
            raise ValueError(f"expected some of the views {list(self.config.views)}, got {sorted(views)}")
        return {view: F.normalize(self.encoders[view](x), dim=-1) for view, x in views.items()}

    def represent(self, views: Mapping[str, Tensor]) -> Tensor:
        """Unit vectors ``[b, views · dim]``: those of all views side by side, zeros for a missing one."""
        found = self(views)
        like = next(iter(found.values()))
        parts = [found.get(view, torch.zeros_like(like)) for view in self.config.views]
        return F.normalize(torch.cat(parts, dim=-1), dim=-1)

    def loss(
        self,
        vectors: Mapping[str, Tensor],
        places_b: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
        drawn_bk: Tensor | None = None,
    ) -> Tensor:
        """The sum over all pairs of views, both ways; then the memory follows.

        Args:
            vectors: of :meth:`forward`, at least two views.
            places_b: which things these are, for the memory.
            present: True where a thing has a view; all have all without it.
            generator: draws the negatives.
            drawn_bk: negatives ``[b, 1 + count]`` that were drawn already, each thing's own first.

        Raises:
            ValueError: too few views, or no places where there is a memory.
        """
        c = self.config
        pairs = [pair for pair in c.pairs() if set(pair) <= set(vectors)]
        if not pairs:
            raise ValueError(f"expected two views that are contrasted, of {c.pairs()}, got {sorted(vectors)}")
        if c.negatives == "memory":
            if places_b is None:
                raise ValueError("expected the places of these things in the memory, got none")
            if drawn_bk is None:
                drawn_bk = draw(places_b, c.items, c.count, generator)
        else:
            drawn_bk = None
        total = next(iter(vectors.values())).new_zeros(())
        for pair in pairs:
            both_b = _both(pair, present)
            for a, b in (pair, pair[::-1]):
                scores = self._scores(vectors[a], vectors[b], b, drawn_bk, both_b)
                total = total + self._contrast(f"{a}>{b}", scores / c.temperature)
        if places_b is not None:
            for view, bank in self.banks.items():
                self._follow(view, bank, vectors, places_b, present)
        return total

    def _scores(
        self, a_bd: Tensor, b_bd: Tensor, view: str, drawn_bk: Tensor | None, both_b: Tensor | None
    ) -> Tensor:
        """Cosines ``[b, 1 + m]`` of one view with the other's vectors, the thing's own first."""
        if both_b is not None:
            a_bd, b_bd = a_bd[both_b], b_bd[both_b]
            drawn_bk = None if drawn_bk is None else drawn_bk[both_b]
        if drawn_bk is not None:
            bank = self.banks[view]
            assert isinstance(bank, MemoryBank)
            return bank.scores(a_bd, drawn_bk)
        b = len(a_bd)
        all_bb = a_bd @ b_bd.T
        others = ~torch.eye(b, dtype=torch.bool, device=all_bb.device)
        return torch.cat([all_bb.diagonal()[:, None], all_bb[others].view(b, max(0, b - 1))], dim=1)

    def _contrast(self, way: str, scores_bk: Tensor) -> Tensor:
        if not len(scores_bk) or scores_bk.shape[1] < 2:  # nothing to be told apart
            return scores_bk.sum() * 0
        if self.config.objective == "softmax":
            return first_is_right(scores_bk)
        items = self.config.items if self.config.negatives == "memory" else scores_bk.shape[1]
        loss: Tensor = self.noise[way](scores_bk, items)
        return loss

    def _follow(
        self,
        view: str,
        bank: nn.Module,
        vectors: Mapping[str, Tensor],
        places_b: Tensor,
        present: Mapping[str, Tensor] | None,
    ) -> None:
        assert isinstance(bank, MemoryBank)
        if view not in vectors:
            return
        there = None if present is None else present.get(view)
        if there is None:
            bank.update(places_b, vectors[view])
        else:
            bank.update(places_b[there], vectors[view][there])


def _both(pair: tuple[str, str], present: Mapping[str, Tensor] | None) -> Tensor | None:
    masks = [present[view] for view in pair if present is not None and view in present]
    if not masks:
        return None
    return masks[0] if len(masks) == 1 else masks[0] & masks[1]
