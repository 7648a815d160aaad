"""Items → vectors."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chiasm.errors import ChiasmError
from chiasm.preprocess.prepared import PreparedItem


@runtime_checkable
class Embeds(Protocol):
    """The ability to give items vectors."""

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        """Unit vectors ``[n, d]``."""


def embed(model: Embeds, items: Sequence[PreparedItem]) -> NDArray[np.float32]:
    """Unit vectors float32 ``[n, d]``, in the order of the items.

    Raises:
        ChiasmError: the model gave something that is not a number.
    """
    with torch.inference_mode():
        vectors: NDArray[np.float32] = model.embed(items).float().cpu().numpy()
    if not np.isfinite(vectors).all():
        raise ChiasmError(
            "expected finite vectors from the model, got NaN or infinity",
            "模型应给出有限的向量，实际出现了 NaN 或无穷大",
            code="model_failure",
        )
    return vectors
