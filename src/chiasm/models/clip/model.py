"""CLIP (Radford et al. 2021): pictures and texts as unit vectors of one space.

Chinese-CLIP (Yang et al. 2022) reads with a BERT; SigLIP (Zhai et al. 2023) pools both sides differently.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.modality import Modality
from chiasm.models.batching import Encoders, embed_parts, mean_of_frames, pad_ids, stack_pixels
from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.model import Bert
from chiasm.models.clip.config import ClipConfig, TextConfig
from chiasm.models.traced import Traced, trace_pixels, trace_text
from chiasm.models.vit.model import Vit
from chiasm.nn.blocks import BlockConfig, Encoder
from chiasm.nn.relevance import Flow
from chiasm.nn.stems import TokenStem
from chiasm.preprocess.prepared import PreparedItem, PreparedPart


class TextTower(nn.Module):
    """Tokens → one vector: the state of the last token."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.stem = TokenStem(c.vocabulary, c.positions, c.width)
        block = BlockConfig(
            width=c.width, heads=c.heads, hidden=c.hidden, activation=c.activation, epsilon=c.epsilon
        )
        self.encoder = Encoder(block, c.depth)

    def forward(self, ids_bt: Tensor, mask_bt: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors ``[b, width]`` and states ``[b, t, width]``; ``mask`` is True at real tokens."""
        t = ids_bt.shape[1]
        if self.config.padded:
            # these looked at their padding when they were trained, and end with it
            fill = self.config.positions - t
            ids_bt = F.pad(
                ids_bt.masked_fill(~mask_bt, self.config.padding), (0, fill), value=self.config.padding
            )
            states = self.encoder(self.stem(ids_bt))
            return states[:, -1], states[:, :t]
        states = self.encoder(self.stem(ids_bt), self._mask(mask_bt))
        rows = torch.arange(len(ids_bt), device=ids_bt.device)
        return states[rows, mask_bt.sum(dim=1) - 1], states

    @property
    def embedding(self) -> nn.Module:
        """What looks tokens up."""
        return self.stem.token

    def flow(self, t: int) -> Flow:
        """Who looks at whom, padding included, where that was looked at: the last stands for all."""
        count = self.config.positions if self.config.padded else t
        return Flow(groups=self.encoder.looks(range(count)), readers=[count - 1], count=count)

    def vector(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """The vectors of :meth:`forward` alone, sooner."""
        if self.config.padded:
            vectors: Tensor = self(ids_bt, mask_bt)[0]
            return vectors
        last_b = mask_bt.sum(dim=1) - 1
        return self.encoder.at(self.stem(ids_bt), last_b, self._mask(mask_bt), last_mask=mask_bt)

    def _mask(self, mask_bt: Tensor) -> Tensor:
        mask_bhts = mask_bt[:, None, None, :]
        if not self.config.causal:
            return mask_bhts
        t = mask_bt.shape[1]
        return mask_bhts & torch.ones((t, t), dtype=torch.bool, device=mask_bt.device).tril()


class BertTower(nn.Module):
    """BERT as a text tower: its [CLS] token is the vector."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = Bert(config)

    def forward(self, ids_bt: Tensor, mask_bt: Tensor) -> tuple[Tensor, Tensor]:
        """As :class:`TextTower`."""
        states = self.bert(ids_bt, mask_bt)
        return states[:, 0], states

    @property
    def embedding(self) -> nn.Module:
        """What looks tokens up."""
        return self.bert.token

    def flow(self, t: int) -> Flow:
        """Who looks at whom."""
        return self.bert.flow(t)

    def vector(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """The vectors alone."""
        vectors: Tensor = self(ids_bt, mask_bt)[0]
        return vectors


class Clip(nn.Module):
    """Both towers; ``embed`` is the ability that tasks ask for."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.image = Vit(c.vision)
        self.text = TextTower(c.text) if isinstance(c.text, TextConfig) else BertTower(c.text)
        self.image_projection = (
            nn.Linear(c.vision.width, c.dim, bias=False) if c.image_projection else nn.Identity()
        )
        self.text_projection = nn.Linear(c.text.width, c.dim, bias=c.text_bias)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        """ln of the factor on a cosine."""
        self.logit_bias = nn.Parameter(torch.zeros(())) if c.sigmoid else None
        """Of all logits of a SigLIP: it changes no vector, but whether a pair is one."""
        self.encoders: Encoders = {
            Modality.TEXT: self._texts,
            Modality.IMAGE: self._pictures,
            Modality.VIDEO: self._clips,
        }

    def encode_image(self, pixels_bhwc: Tensor) -> Tensor:
        """Vectors ``[b, dim]`` of uint8 pictures ``[b, h, w, 3]``."""
        vectors: Tensor = self.image_projection(self.image.vector(pixels_bhwc))
        return vectors

    def encode_text(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """Vectors ``[b, dim]`` of token ids; ``mask`` is True at real tokens."""
        vectors: Tensor = self.text_projection(self.text.vector(ids_bt, mask_bt))
        return vectors

    def trace(self, part: PreparedPart, seconds: float = 1.0) -> Traced:
        """One part with all that is looked at on its way; ``seconds``: how long a clip is."""
        if part.modality is Modality.TEXT:
            return trace_text(part, self.encode_text, self.text.embedding, self.text.flow)
        device, vit = self.logit_scale.device, self.image
        return trace_pixels(part, self.encode_image, vit.flow(), vit.places(), device=device, seconds=seconds)

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        """Unit vectors ``[n, dim]``; a clip is the mean of its frames, a mixed item that of its parts."""
        return embed_parts(self, items, self.encoders, self.config.dim)

    def _texts(self, parts: Sequence[PreparedPart]) -> Tensor:
        return self.encode_text(*pad_ids(parts, self.logit_scale.device))

    def _pictures(self, parts: Sequence[PreparedPart]) -> Tensor:
        return self._encode(stack_pixels(parts))

    def _clips(self, parts: Sequence[PreparedPart]) -> Tensor:
        return mean_of_frames(parts, self._encode)

    def _encode(self, pixels_bhwc: Tensor) -> Tensor:
        return self.encode_image(pixels_bhwc.to(self.logit_scale.device))
