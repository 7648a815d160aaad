"""chiasm's default model in the shape in which infinity takes multimodal models; written out by compare.py.

Its processor only packs: all that makes a vector happens in the two methods that infinity calls in batches.
"""

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

import chiasm


class WrappedConfig(PretrainedConfig):
    """Says that there are pictures."""

    model_type = "chiasm_wrapped"


class WrappedModel(PreTrainedModel):
    """Texts as bytes and pictures as pixels in, vectors out."""

    config_class = WrappedConfig

    def __init__(self, config):
        super().__init__(config)
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.post_init()

    def _inner(self):
        if not hasattr(WrappedModel, "loaded"):
            WrappedModel.loaded = chiasm.load()
        return WrappedModel.loaded

    def get_text_features(self, input_ids, attention_mask=None):
        """From bytes, padded with 0."""
        texts = [bytes(row.tolist()).rstrip(b"\0").decode() for row in input_ids.to(torch.uint8).numpy()]
        return torch.from_numpy(np.array(self._inner().embed(texts)))

    def get_image_features(self, pixel_values):
        """From pixels."""
        rows = pixel_values.to(torch.uint8).numpy()
        return torch.from_numpy(np.array(self._inner().embed([chiasm.Image(row) for row in rows])))


class WrappedProcessor:
    """Packs; pictures of one request must be of one size."""

    @classmethod
    def from_pretrained(cls, *_given, **_options):
        return cls()

    @classmethod
    def register_for_auto_class(cls, auto_class="AutoProcessor"):
        return

    def __call__(self, images=None, text=None, **_options):
        found = {}
        if text:
            rows = [list(one.encode()) for one in text]
            most = max(map(len, rows))
            found["input_ids"] = torch.tensor([row + [0] * (most - len(row)) for row in rows])
        if images:
            pixels = np.stack([np.asarray(one.convert("RGB")) for one in images])
            found["pixel_values"] = torch.from_numpy(pixels)
        return found
