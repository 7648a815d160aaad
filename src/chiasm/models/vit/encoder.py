"""ViT as an encoder of pictures and clips: one unit vector each."""

from collections.abc import Sequence

from torch import Tensor, nn

from chiasm.modality import Modality
from chiasm.models.batching import embed_parts, mean_of_frames, stack_pixels
from chiasm.models.traced import Traced, trace_pixels
from chiasm.models.vit.config import VitConfig
from chiasm.models.vit.model import Vit
from chiasm.preprocess.prepared import PreparedItem, PreparedPart


class PictureEncoder(nn.Module):
    """A trunk whose pooled state is the vector."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.vit = Vit(config)

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        """Unit vectors ``[n, width]``; a clip is the mean of its frames, a mixed item that of its parts."""
        encoders = {Modality.IMAGE: self._pictures, Modality.VIDEO: self._clips}
        return embed_parts(self, items, encoders, self.vit.config.width)

    def trace(self, part: PreparedPart, seconds: float = 1.0) -> Traced:
        """One part with all that is looked at on its way; ``seconds``: how long a clip is."""
        vit = self.vit
        return trace_pixels(
            part, vit.vector, vit.flow(), vit.places(), device=vit.position.device, seconds=seconds
        )

    def _pictures(self, parts: Sequence[PreparedPart]) -> Tensor:
        return self._encode(stack_pixels(parts))

    def _clips(self, parts: Sequence[PreparedPart]) -> Tensor:
        return mean_of_frames(parts, self._encode)

    def _encode(self, pixels_bhwc: Tensor) -> Tensor:
        vectors: Tensor = self.vit.vector(pixels_bhwc.to(self.vit.position.device))
        return vectors
