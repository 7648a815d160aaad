"""A model without numbers: names and shapes of what a config makes."""

import torch

from chiasm.models.mini.config import MiniConfig
from chiasm.models.mini.model import ChiasmMini


def skeleton(config: MiniConfig) -> ChiasmMini:
    """The model on the meta device, which takes no memory; ``load_state_dict(…, assign=True)`` fills it."""
    with torch.device("meta"):
        return ChiasmMini(config)
