"""The anchor: English text vectors of all-MiniLM-L6-v2, computed once and kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer

from chiasm.models.bert.model import Bert
from chiasm.nn.pooling import mean_pool
from chiasm.training.backbones import load_minilm


class Teacher:
    """Unit vectors of English texts, remembered in a file.

    Args:
        path: ``.npz`` with the texts and their vectors in half precision.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, NDArray[np.float32]] = {}
        if path.exists():
            with np.load(path) as stored:
                self._known = dict(
                    zip(stored["texts"].tolist(), stored["vectors"].astype(np.float32), strict=True)
                )

    def vectors(self, texts: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """A table that holds at least these texts; new ones are computed and kept."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            bert, tokenizer = load_minilm()
            self._known |= dict(zip(missing, embed_texts(bert, tokenizer, missing), strict=True))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(".tmp.npz")
            values = np.stack(list(self._known.values())).astype(np.float16)
            np.savez(temporary, texts=np.array(list(self._known)), vectors=values)
            temporary.replace(self.path)
        return self._known

    def matrix(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Rows ``[n, d]`` of these texts."""
        table = self.vectors(texts)
        return np.stack([table[text] for text in texts])


@torch.inference_mode()
def embed_texts(
    bert: Bert, tokenizer: Tokenizer, texts: Sequence[str], size: int = 128
) -> NDArray[np.float32]:
    """Unit vectors ``[n, d]``: mean of the states, normalised, as the published model is used."""
    rows = [tokenizer.encode(text).ids[:256] for text in texts]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    out = np.zeros((len(rows), bert.config.width), dtype=np.float32)
    device = bert.norm.weight.device
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        length = len(rows[chosen[-1]])
        ids = torch.tensor([rows[i] + [0] * (length - len(rows[i])) for i in chosen])
        mask = torch.tensor([[k < len(rows[i]) for k in range(length)] for i in chosen])
        states = bert(ids.to(device), mask.to(device))
        out[chosen] = F.normalize(mean_pool(states, mask.to(device)), dim=-1).cpu().numpy()
    return out
