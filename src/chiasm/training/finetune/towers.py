"""Both towers of a CLIP, which part of them learns, and the loss that they were made with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chiasm.models.batching import pad_ids
from chiasm.models.clip.model import Clip
from chiasm.nn.losses import info_nce, sigmoid_loss
from chiasm.nn.losses.contrastive import bounded_scale
from chiasm.preprocess import PreparedPart
from chiasm.training.finetune.config import Part

_LEARNING: dict[Part, tuple[str, ...]] = {
    "all": ("image.", "image_projection.", "text.", "text_projection."),
    "text": ("text.", "text_projection."),
    "image": ("image.", "image_projection."),
    "head": ("image_projection.", "text_projection."),
}
_ALWAYS = ("logit_scale", "logit_bias")


class Towers(nn.Module):
    """A CLIP as it is trained. A tower that is locked stays bit for bit as it is (Zhai et al. 2022, "LiT").

    Attributes:
        image_locked, text_locked: whether what the tower says of an input, before its projection, is the same
            all the time.
    """

    def __init__(self, clip: Clip, part: Part) -> None:
        super().__init__()
        self.clip = clip
        for name, parameter in clip.named_parameters():
            parameter.requires_grad_(name.startswith(_LEARNING[part]) or name in _ALWAYS)
        self.image_locked = part in {"text", "head"}
        self.text_locked = part in {"image", "head"}

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.clip.logit_scale.device

    @property
    def widths(self) -> tuple[int, int]:
        """Of what the picture's and the text's tower say before the projections."""
        return self.clip.config.vision.width, self.clip.config.text.width

    def images(self, pixels_bhwc: Tensor) -> Tensor:
        """``[b, width]`` of uint8 pictures, before the projection."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.image_locked):
            return self.clip.image.vector(pixels_bhwc.to(self.device))

    def texts(self, parts: Sequence[PreparedPart]) -> Tensor:
        """``[b, width]`` of prepared texts, before the projection."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.text_locked):
            return self.clip.text.vector(*pad_ids(parts, self.device))

    def project(self, images_bw: Tensor, texts_bv: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors ``[b, dim]`` of both, float32."""
        images_bd, texts_bd = self.clip.image_projection(images_bw), self.clip.text_projection(texts_bv)
        return images_bd.float(), texts_bd.float()

    def loss(self, images_bd: Tensor, texts_bd: Tensor, same_bb: Tensor) -> Tensor:
        """InfoNCE of a CLIP, whose scale stays at most 100; the sigmoid loss of a SigLIP.

        Args:
            same_bb: bool; rows that have a picture or a text in common, which are no negatives of each other.
        """
        scale, bias = self.scale(), self.clip.logit_bias
        if bias is not None:
            return sigmoid_loss(images_bd, texts_bd, scale, bias, same_bb=same_bb)
        return info_nce(images_bd, texts_bd, scale, same_bb=same_bb)

    def scale(self) -> Tensor:
        """The factor on a cosine; a CLIP's is set back to 100 where a step went beyond it."""
        logarithm = self.clip.logit_scale
        return bounded_scale(logarithm) if self.clip.logit_bias is None else logarithm.exp()


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """What learns, in two groups: matrices, which decay, and vectors and numbers, which do not."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learning if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
