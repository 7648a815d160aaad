"""A question that no modality answers alone, and models trained on it for seconds."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.bert.config import BertConfig
from chiasm.models.vit.config import VitConfig

VISION = VitConfig(side=8, patch=4, width=32, depth=2, heads=4, hidden=64, epsilon=1e-6)
TEXT = BertConfig(vocabulary=20, positions=12, width=32, depth=2, heads=4, hidden=64)
WORDS = (5, 6)
"""One of them is in each text, among others."""

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def questions(n: int, seed: int) -> Batch:
    """Pictures with one bright or one dark patch somewhere, texts with one of two words somewhere; the answer
    is whether bright goes with the first word: exclusive or. Texts are padded to different lengths."""
    g = torch.Generator().manual_seed(seed)
    bright, word = torch.randint(2, (n,), generator=g), torch.randint(2, (n,), generator=g)
    grid = torch.full((n, 4), 128)
    grid[torch.arange(n), torch.randint(4, (n,), generator=g)] = bright * 255
    pixels = grid.view(n, 2, 2).repeat_interleave(4, 1).repeat_interleave(4, 2)
    pixels = pixels.unsqueeze(-1).expand(n, 8, 8, 3).to(torch.uint8)
    ids = torch.randint(7, 20, (n, 7), generator=g)
    ids[:, 0] = 2
    lengths = torch.randint(3, 8, (n,), generator=g)
    place = 1 + (torch.rand(n, generator=g) * (lengths - 1)).long()
    ids[torch.arange(n), place] = torch.tensor(WORDS)[word]
    return pixels, ids, torch.arange(7) < lengths[:, None], bright ^ word


def head(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, 2))


def learn(
    logits: Callable[[Batch], Tensor], parameters: list[nn.Parameter], *, steps: int = 300, rate: float = 3e-3
) -> float:
    """Accuracy on new questions after ``steps`` batches, or after it answers several batches all right."""
    best = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    right = 0
    for step in range(steps):
        batch = questions(64, seed=step)
        out = logits(batch)
        loss = F.cross_entropy(out, batch[3])
        best.zero_grad()
        loss.backward()
        best.step()
        right = right + 1 if bool((out.argmax(dim=1) == batch[3]).all()) else 0
        if right == 5:
            break
    return accuracy(logits)


@torch.no_grad()
def accuracy(logits: Callable[[Batch], Tensor]) -> float:
    batch = questions(512, seed=10_000)
    return float((logits(batch).argmax(dim=1) == batch[3]).double().mean())
