"""The text stage: Chinese words learn to land on the English vector (Reimers & Gurevych 2020).

Only the embeddings of the new words are trained. The Transformer and the English embeddings stay as
published, so that English is exactly the anchor's English.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from chiasm.data.builders.parallel import Phrase
from chiasm.models.bert.model import Bert
from chiasm.nn.pooling import mean_pool
from chiasm.training.loop import cosine_rate


@dataclass(frozen=True, kw_only=True)
class TextStageConfig:
    """``names`` and ``templates`` are shares of a batch; the rest are sentences."""

    steps: int = 1000
    size: int = 96
    names: float = 0.62
    templates: float = 0.26
    learning_rate: float = 2e-3
    scale: float = 20.0
    contrast: float = 0.2
    seed: int = 3


class ExtendedText(nn.Module):
    """The published encoder, frozen, with a table of new words behind its own."""

    def __init__(self, bert: Bert, words: Tensor) -> None:
        super().__init__()
        self.bert = bert.requires_grad_(False)
        self.words = nn.Parameter(words.clone())

    def forward(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """Unit vectors ``[b, d]``."""
        return F.normalize(mean_pool(self.states(ids_bt, mask_bt), mask_bt), dim=-1)

    def states(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """States ``[b, t, d]``; ids from the published vocabulary's size on are new words."""
        base = self.bert.token.num_embeddings
        known = self.bert.token(ids_bt.clamp(max=base - 1))
        new = F.embedding((ids_bt - base).clamp(min=0), self.words)
        return self.bert.encode(torch.where((ids_bt >= base).unsqueeze(-1), new, known), mask_bt)


def first_embeddings(bert: Bert, english: Tokenizer, meanings: Sequence[Sequence[str]]) -> Tensor:
    """Where new words start ``[n, d]``: at the mean token embedding of their translations; without one, of
    all tokens."""
    table = bert.token.weight.detach()
    everything = table.mean(dim=0)
    rows = []
    for texts in meanings:
        means = [
            table[english.encode(text, add_special_tokens=False).ids].mean(dim=0) for text in texts if text
        ]
        rows.append(torch.stack(means).mean(dim=0) if means else everything)
    return torch.stack(rows)


class TextStage:
    """See the module.

    Args:
        module: what is trained. tokenizer: with the new words.
        names, templates, sentences: parallel phrases. vectors: unit vector of every English phrase in them.
        checks: named lists of held-out phrases, or of names to be found among all names.
    """

    name = "text"
    clip = 1.0

    def __init__(
        self,
        module: ExtendedText,
        tokenizer: Tokenizer,
        *,
        names: Sequence[Phrase],
        templates: Sequence[Phrase],
        sentences: Sequence[Phrase],
        vectors: Mapping[str, NDArray[np.float32]],
        checks: Mapping[str, Sequence[Phrase]],
        config: TextStageConfig,
    ) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.pools = (names, templates, sentences)
        self.vectors = vectors
        self.checks = checks
        self.config = config
        self.steps = config.steps

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            [self.module.words], lr=self.config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )

    def learning_rate(self, step: int) -> float:
        return cosine_rate(step, self.steps, self.config.learning_rate, 20)

    def batch(self, step: int) -> list[Phrase]:
        rng = np.random.default_rng((self.config.seed, step))
        c = self.config
        names, templates = round(c.size * c.names), round(c.size * c.templates)
        counts = (names, templates, c.size - names - templates)
        return [
            pool[int(i)]
            for pool, count in zip(self.pools, counts, strict=True)
            for i in rng.integers(len(pool), size=count)
        ]

    def loss(self, batch: list[Phrase]) -> dict[str, Tensor]:
        ordered = sorted(batch, key=lambda phrase: len(phrase.zh))
        losses = [
            self._part(part) for part in (ordered[: len(ordered) * 2 // 3], ordered[len(ordered) * 2 // 3 :])
        ]
        return {
            "distance": torch.stack([part[0] for part in losses]).sum() / len(batch),
            "contrast": self.config.contrast * torch.stack([part[1] for part in losses]).mean(),
        }

    def _part(self, phrases: Sequence[Phrase]) -> tuple[Tensor, Tensor]:
        z = self.encode([p.zh for p in phrases])
        target = torch.from_numpy(np.stack([self.vectors[p.en] for p in phrases])).to(z)
        logits = self.config.scale * z @ target.T
        # The same English phrase twice in a batch is not its own negative.
        same = (target @ target.T > 0.999) & ~torch.eye(len(phrases), dtype=torch.bool, device=z.device)
        contrast = F.cross_entropy(
            logits.masked_fill(same, -1e4), torch.arange(len(phrases), device=z.device)
        )
        return (1 - (z * target).sum(dim=-1)).sum(), contrast

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors ``[n, d]``."""
        ids, mask = self._ids(texts)
        out: Tensor = self.module(ids, mask)
        return out

    def states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, list[int]]:
        """Vectors ``[n, d]``, states ``[n, t, d]`` and how many of them count."""
        ids, mask = self._ids(texts)
        states = self.module.states(ids, mask)
        return mean_pool(states, mask), states, mask.sum(dim=1).tolist()

    def _ids(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = [self.tokenizer.encode(text).ids[:128] for text in texts]
        length = max(len(row) for row in rows)
        ids = torch.zeros((len(rows), length), dtype=torch.long)
        mask = torch.zeros((len(rows), length), dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = True
        device = self.module.words.device
        return ids.to(device), mask.to(device)

    def evaluate(self) -> dict[str, float]:
        figures = {}
        for name, phrases in self.checks.items():
            gallery = torch.from_numpy(np.stack([self.vectors[p.en] for p in phrases]))
            z = torch.cat(
                [self.encode([p.zh for p in phrases[i : i + 64]]) for i in range(0, len(phrases), 64)]
            ).cpu()
            figures[f"{name} cosine"] = round(float((z * gallery).sum(dim=-1).mean()), 4)
            scores = z @ gallery.T
            figures[f"{name} R@1"] = round(
                float((scores.argmax(dim=1) == torch.arange(len(z))).float().mean()), 4
            )
        return figures
