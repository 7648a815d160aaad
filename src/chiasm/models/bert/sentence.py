"""BERT as a sentence encoder (Reimers & Gurevych 2019): one unit vector a text."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from chiasm.modality import Modality
from chiasm.models.batching import embed_parts, pad_ids
from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.model import Bert
from chiasm.models.traced import Traced, trace_text
from chiasm.nn.pooling import MeanPool
from chiasm.nn.relevance import Flow, Step
from chiasm.preprocess.prepared import PreparedItem, PreparedPart

SentencePooling = Literal["mean", "cls", "max"]


class SentenceEncoder(nn.Module):
    """An encoder and what stands for the whole text: the mean or the maximum over tokens, or the first."""

    def __init__(self, config: BertConfig, pooling: SentencePooling = "mean") -> None:
        super().__init__()
        self.bert = Bert(config)
        self.pooling = pooling
        self.mean = MeanPool()

    def forward(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """Vectors ``[b, width]`` of token ids; ``mask`` is True at real tokens."""
        states: Tensor = self.bert(ids_bt, mask_bt)
        if self.pooling == "mean":
            pooled: Tensor = self.mean(states, mask_bt)
            return pooled
        if self.pooling == "cls":
            return states[:, 0]
        return states.masked_fill(~mask_bt.unsqueeze(-1), -torch.inf).amax(dim=1)

    def trace(self, part: PreparedPart, seconds: float = 1.0) -> Traced:
        """One text with all that is looked at on its way."""
        del seconds  # texts have none
        return trace_text(part, self, self.bert.token, self._flow)

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        """Unit vectors ``[n, width]``."""
        return embed_parts(self, items, {Modality.TEXT: self._texts}, self.bert.config.width)

    def _flow(self, t: int) -> Flow:
        groups = self.bert.encoder.looks(range(t))
        if self.pooling == "mean":
            return Flow(groups=[*groups, [Step(self.mean, [t], range(t))]], readers=[t], count=t + 1)
        return Flow(groups=groups, readers=[0] if self.pooling == "cls" else range(t), count=t)

    def _texts(self, parts: Sequence[PreparedPart]) -> Tensor:
        vectors: Tensor = self(*pad_ids(parts, self.bert.norm.weight.device))
        return vectors
