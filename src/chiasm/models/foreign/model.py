"""Any embedding model of ``transformers`` behind ``embed``. Of that package this module imports nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from chiasm.modality import Modality
from chiasm.models.batching import Encoders, embed_parts, mean_of_frames, pad_ids, stack_pixels
from chiasm.models.foreign.conversation import to_model
from chiasm.nn.pooling import mean_pool
from chiasm.preprocess.prepared import PreparedItem, PreparedPart

ForeignPooling = Literal["features", "mean", "cls", "max", "last", "pooler"]
Triple = tuple[float, float, float]
Prepare = Callable[[NDArray[Any]], Mapping[str, Tensor]]
"""One picture uint8 ``[h, w, 3]``, or one sound float32 ``[samples]``, by the family's own preparation."""


class ForeignModel(nn.Module):
    """A model, and what of its answer is the vector.

    Args:
        model: of ``transformers``.
        dim: of its vectors.
        text: what stands for a text: the model's ``features`` (``get_text_features``), its ``pooler``'s
            output, or the mean, the maximum, the first or the last of the tokens' states; None if it takes
            none.
        image, audio: the same for pictures and for sounds.
        padding: the number of the token that fills short texts up.
        filled: tokens up to which every text is filled, and the model looks at what fills it; 0: it does not.
        mean, std: of the pictures' channels, in [0, 1].
        own_image, own_audio: what prepares pictures and sounds; without the first, mean and deviation do.
    """

    def __init__(
        self,
        model: nn.Module,
        dim: int,
        *,
        text: ForeignPooling | None,
        image: ForeignPooling | None,
        audio: ForeignPooling | None = None,
        padding: int = 0,
        filled: int = 0,
        mean: Triple = (0.5, 0.5, 0.5),
        std: Triple = (0.5, 0.5, 0.5),
        own_image: Prepare | None = None,
        own_audio: Prepare | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.dim = dim
        self.text, self.image, self.audio = text, image, audio
        self.padding, self.filled = padding, filled
        self.mean, self.std = mean, std
        self.own_image, self.own_audio = own_image, own_audio
        self.encoders: Encoders = {
            Modality.TEXT: self._texts,
            Modality.IMAGE: self._pictures,
            Modality.VIDEO: lambda parts: mean_of_frames(parts, self.encode_image),
            Modality.AUDIO: lambda parts: self.encode_audio([part.arrays["samples"] for part in parts]),
        }

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it takes."""
        texts = (Modality.TEXT,) if self.text else ()
        pictures = (Modality.IMAGE, Modality.VIDEO) if self.image else ()
        return (*texts, *pictures, *((Modality.AUDIO,) if self.audio else ()))

    def encode_text(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """Vectors ``[b, dim]`` of token ids, padded behind; ``mask`` is True at real tokens."""
        ids_bt = ids_bt.masked_fill(~mask_bt, self.padding)
        if self.filled:
            ids_bt = F.pad(ids_bt, (0, self.filled - ids_bt.shape[1]), value=self.padding)
            mask_bt = torch.ones_like(ids_bt, dtype=torch.bool)
        given = {"input_ids": ids_bt, "attention_mask": mask_bt.long()}
        if self.text == "features":
            return _vector(self._call("get_text_features")(**given))
        return _pooled(self.model(**given), self.text, mask_bt)

    def encode_image(self, pixels_bhwc: Tensor) -> Tensor:
        """Vectors ``[b, dim]`` of uint8 pictures ``[b, h, w, 3]``."""
        if self.own_image is not None:
            return self._own([np.asarray(pixels) for pixels in pixels_bhwc.cpu()], "image")
        like = next(self.parameters())
        pixels = pixels_bhwc.to(like.device).float() / 255
        mean, std = (pixels.new_tensor(three) for three in (self.mean, self.std))
        given = ((pixels - mean) / std).permute(0, 3, 1, 2).to(like.dtype)
        if self.image == "features":
            return _vector(self._call("get_image_features")(pixel_values=given))
        return _pooled(self.model(pixel_values=given), self.image, None)

    def encode_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Tensor:
        """Vectors ``[b, dim]`` of sounds, mono at the model's rate."""
        return self._own(sounds, "audio")

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        """Unit vectors ``[n, dim]``; a clip is the mean of its frames, a mixed item that of its parts."""
        return embed_parts(self, items, self.encoders, self.dim)

    def _texts(self, parts: Sequence[PreparedPart]) -> Tensor:
        return self.encode_text(*pad_ids(parts, next(self.parameters()).device))

    def _pictures(self, parts: Sequence[PreparedPart]) -> Tensor:
        if self.own_image is None:
            return self.encode_image(stack_pixels(parts))
        return self._own([part.arrays["pixels"] for part in parts], "image")

    def _own(self, values: Sequence[NDArray[Any]], kind: Literal["image", "audio"]) -> Tensor:
        """One at a time: what preparations make of several differs, and so does what fills them up."""
        prepare, pooling = (self.own_image, self.image) if kind == "image" else (self.own_audio, self.audio)
        assert prepare is not None
        like = next(self.parameters())
        vectors = []
        for value in values:
            given = {name: to_model(one, like) for name, one in prepare(value).items()}
            if pooling == "features":
                vectors.append(_vector(self._call(f"get_{kind}_features")(**given)))
            else:
                vectors.append(_pooled(self.model(**given), pooling, None))
        return torch.cat(vectors)

    def _call(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self.model, name)
        return method


def _vector(answer: Any) -> Tensor:
    """Versions differ in whether they wrap it."""
    found: Tensor = answer if isinstance(answer, Tensor) else answer.pooler_output
    return found


def _pooled(answer: Any, pooling: ForeignPooling | None, mask_bt: Tensor | None) -> Tensor:
    if pooling == "pooler":
        pooled: Tensor = answer.pooler_output
        return pooled.flatten(1)
    states: Tensor = answer.last_hidden_state
    if states.dim() == 4:  # a convolution's map
        states = states.flatten(2).transpose(1, 2)
    if mask_bt is None:
        mask_bt = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    if pooling == "mean":
        return mean_pool(states, mask_bt)
    if pooling == "max":
        return states.masked_fill(~mask_bt.unsqueeze(-1), -torch.inf).amax(dim=1)
    places = torch.zeros(len(states), dtype=torch.long, device=states.device)
    if pooling == "last":
        places = mask_bt.sum(dim=1) - 1
    return states[torch.arange(len(states), device=states.device), places]
