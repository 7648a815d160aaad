"""Words that are masked and asked for (MLM), and whether two things belong together (ITM)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from chiasm.nn.losses.present import present

IGNORED = -100
"""Target of a token that is not asked for."""


class MaskedTokens(NamedTuple):
    """What the model reads, and what it is asked for: the token that was there, or ``IGNORED``."""

    ids_bt: Tensor
    targets_bt: Tensor


def mask_whole_words(
    ids_bt: Tensor,
    starts_bt: Tensor,
    maskable_bt: Tensor,
    *,
    mask_id: int,
    vocabulary: int,
    generator: torch.Generator,
    rate: float = 0.15,
) -> MaskedTokens:
    """Choose words, all pieces of a word together (ViLT, Kim et al. 2021, sec. 3.2), at least one a text.

    Of the pieces of chosen words 80 % become ``mask_id``, 10 % any token, 10 % stay (Devlin et al. 2019,
    appendix A.1); all are asked for.

    Args:
        starts_bt: True at the first piece of each word.
        maskable_bt: False at padding and special tokens, which are neither masked nor asked for.
        vocabulary: random tokens are drawn from all below it.
        rate: share of words, each chosen by itself.
    """

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device).to(ids_bt.device)

    word_bt = (starts_bt.long().cumsum(dim=1) - 1).clamp(min=0)
    luck_bt = draw(*ids_bt.shape).gather(1, word_bt).masked_fill(~maskable_bt, torch.inf)
    chosen_bt = (luck_bt < rate) | (luck_bt == luck_bt.amin(dim=1, keepdim=True))
    chosen_bt = chosen_bt & maskable_bt
    fate_bt = draw(*ids_bt.shape)
    any_bt = (draw(*ids_bt.shape) * vocabulary).long()
    ids = ids_bt.masked_fill(chosen_bt & (fate_bt < 0.8), mask_id)
    ids = torch.where(chosen_bt & (fate_bt >= 0.9), any_bt, ids)
    return MaskedTokens(ids, ids_bt.masked_fill(~chosen_bt, IGNORED))


def masked_word_loss(logits_btv: Tensor, targets_bt: Tensor) -> Tensor:
    """Cross-entropy at the tokens that are asked for, mean over them; 0 if there is none."""
    asked_bt = targets_bt != IGNORED
    total = F.cross_entropy(logits_btv[asked_bt], targets_bt[asked_bt], reduction="sum")
    return total / asked_bt.sum().clamp(min=1)


def matching_loss(logits_bc: Tensor, matched_b: Tensor, mask_b: Tensor | None = None) -> Tensor:
    """Cross-entropy of "do these two belong together" (ITM; Kim et al. 2021, sec. 3.2), mean over the rows.

    Args:
        logits_bc: of no and of yes, ``[b, 2]``.
        matched_b: True or 1 where they do.
        mask_b: rows where it is False are left out.
    """
    if logits_bc.shape[-1] != 2:
        raise ValueError(f"expected the logits of no and of yes, got {logits_bc.shape[-1]} a row")
    logits_bc, matched_b = present(mask_b, logits_bc, matched_b)
    total = F.cross_entropy(logits_bc, matched_b.long(), reduction="sum")
    return total / max(len(logits_bc), 1)
