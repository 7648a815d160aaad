"""What training minimises: distances, rankings, contrasts, questions of masked words and of matching."""

from chiasm.nn.losses.contrastive import (
    LearntInfoNce,
    LearntSigmoid,
    anchored_cross_entropy,
    each_positive,
    info_nce,
    sigmoid_loss,
    soft_cross_entropy,
)
from chiasm.nn.losses.masked import (
    IGNORED,
    MaskedTokens,
    mask_whole_words,
    masked_word_loss,
    matching_loss,
)
from chiasm.nn.losses.metric import Pairs, label_pairs, max_margin, mined_triplet, pair_margin, triplet
from chiasm.nn.losses.transport import alignment_loss, transport_distance, transport_plan

__all__ = [
    "IGNORED",
    "LearntInfoNce",
    "LearntSigmoid",
    "MaskedTokens",
    "Pairs",
    "alignment_loss",
    "anchored_cross_entropy",
    "each_positive",
    "info_nce",
    "label_pairs",
    "mask_whole_words",
    "masked_word_loss",
    "matching_loss",
    "max_margin",
    "mined_triplet",
    "pair_margin",
    "sigmoid_loss",
    "soft_cross_entropy",
    "transport_distance",
    "transport_plan",
    "triplet",
]
