"""What ViLT answers (Kim et al. 2021, sec. 3.2 and 4): masked words, whether and how well a text and a
picture belong together, questions about a picture, sentences about two pictures.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.pair_heads import PairHeads
from chiasm.models.pairs import PairBatch
from chiasm.models.vilt.config import ViltConfig, ViltHeadsConfig
from chiasm.models.vilt.model import Vilt
from chiasm.nn.blocks import Activation, activate

CLASSIFIER_EPSILON = 1e-5


class WordHead(nn.Module):
    """States of tokens → logits of words (Devlin et al. 2019, as in BERT's own masked language model)."""

    def __init__(
        self, width: int, vocabulary: int, activation: Activation, epsilon: float, *, tied: bool
    ) -> None:
        super().__init__()
        self.activation = activation
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.weight = None if tied else nn.Parameter(torch.randn(vocabulary, width) * 0.02)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states_btd: Tensor, words_vd: Tensor) -> Tensor:
        """``[b, t, vocabulary]``. words_vd: embeddings of words, which are the output layer if it is tied."""
        x_btd = self.norm(activate(self.dense(states_btd), self.activation))
        return F.linear(x_btd, words_vd if self.weight is None else self.weight, self.bias)


class Classifier(nn.Module):
    """Two linear maps with a normalisation and GELU between them."""

    def __init__(self, width: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden, eps=CLASSIFIER_EPSILON)
        self.contract = nn.Linear(hidden, classes)

    def forward(self, pooled_bd: Tensor) -> Tensor:
        """``[b, width]`` → ``[b, classes]``."""
        logits: Tensor = self.contract(F.gelu(self.norm(self.expand(pooled_bd))))
        return logits


class HeadedVilt(PairHeads):
    """The trunk and those heads that there are; see :class:`~chiasm.models.pair_heads.PairHeads`."""

    family: ClassVar[str] = "ViLT"
    padded: ClassVar[bool] = True

    def __init__(self, config: ViltConfig, heads: ViltHeadsConfig) -> None:
        super().__init__()
        c, width = config, config.width
        self.config, self.heads = config, heads
        self.vilt = Vilt(config)
        self.words = (
            WordHead(width, c.text.vocabulary, c.text.activation, c.text.epsilon, tied=heads.words_tied)
            if heads.words
            else None
        )
        self.matching = nn.Linear(width, 2) if heads.matching else None
        self.ranking = nn.Linear(width, 1) if heads.ranking else None
        self.answers = Classifier(width, 2 * width, len(heads.answers)) if heads.answers else None
        several = heads.compared * width
        self.verdicts = Classifier(several, several, len(heads.verdicts)) if heads.verdicts else None

    @property
    def cell(self) -> int:
        """Pixels of the side of a patch."""
        return self.config.vision.patch

    @property
    def trunk(self) -> Vilt:
        """What reads both sides."""
        return self.vilt

    def vectors(self, batch: PairBatch) -> Tensor:
        """What stands for each text with each of its pictures, ``[b, pictures, width]``."""
        pooled = [
            self.vilt.vector(batch.ids_bt, pixels_bhwc, batch.mask_bt, sizes, picture=number)
            for number, (pixels_bhwc, sizes) in enumerate(batch.pictures, 1)
        ]
        return torch.stack(pooled, dim=1)

    def word_logits(self, states_btd: Tensor) -> Tensor:
        """Of the text's states: which word each token is, ``[b, t, vocabulary]`` (MLM)."""
        head = self.there(self.words, "words")
        logits: Tensor = head(states_btd, self.vilt.texts.bert.token.weight)
        return logits
