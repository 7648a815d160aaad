"""Vectors of items and of labels → scores."""

import numpy as np
from numpy.typing import NDArray


def classify(
    items_nd: NDArray[np.float32],
    labels_md: NDArray[np.float32],
    *,
    logit_scale: float,
    multi_label: bool = False,
) -> NDArray[np.float32]:
    """Zero-shot scores ``[n, m]`` in [0, 1] (Radford et al. 2021, sec. 3.1.2).

    Rows are unit vectors. With one label an item, the softmax over the labels of ``logit_scale`` x cosine, so
    that rows sum to 1; with ``multi_label``, each label is a yes-or-no question against the others' mean.
    """
    logits = logit_scale * (items_nd @ labels_md.T)
    if multi_label:
        count = logits.shape[1]
        others = (logits.sum(axis=1, keepdims=True) - logits) / max(count - 1, 1)
        # tanh saturates where exp would overflow.
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * (logits - others))), dtype=np.float32)
    logits = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
