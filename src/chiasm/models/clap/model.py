"""CLAP (Wu et al. 2023): sounds and texts as unit vectors of one space."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from chiasm.modality import Modality
from chiasm.models.batching import Encoders, embed_parts, pad_ids
from chiasm.models.bert.model import Bert
from chiasm.models.clap.config import ClapConfig
from chiasm.models.clap.swin import AudioTower
from chiasm.models.traced import Looked, Traced, over_frames, trace_text, unit
from chiasm.nn.blocks import Activation, activate
from chiasm.nn.recorder import record
from chiasm.nn.relevance import Flow, Step
from chiasm.preprocess.prepared import PreparedItem, PreparedPart


class Projection(nn.Module):
    """Two linear maps with an activation between them."""

    def __init__(self, width: int, dim: int, activation: Activation) -> None:
        super().__init__()
        self.first = nn.Linear(width, dim)
        self.second = nn.Linear(dim, dim)
        self.activation: Activation = activation

    def forward(self, x_bd: Tensor) -> Tensor:
        out: Tensor = self.second(activate(self.first(x_bd), self.activation))
        return out


class Clap(nn.Module):
    """Both towers; ``embed`` is the ability that tasks ask for."""

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.audio = AudioTower(c.audio)
        self.text = Bert(c.text)
        self.text_pool = nn.Linear(c.text.width, c.text.width)
        self.audio_projection = Projection(c.audio.last_width, c.dim, c.activation)
        self.text_projection = Projection(c.text.width, c.dim, c.activation)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        """ln of the factor on a cosine."""
        self.encoders: Encoders = {Modality.TEXT: self._texts, Modality.AUDIO: self._sounds}

    def encode_audio(self, log_mel_btm: Tensor) -> Tensor:
        """Vectors ``[b, dim]`` of log-mel frames ``[b, t, mels]`` in decibels."""
        vectors: Tensor = self.audio_projection(self.audio(log_mel_btm))
        return vectors

    def encode_text(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """Vectors ``[b, dim]`` of token ids; ``mask`` is True at real tokens."""
        first_bd = self.text(ids_bt, mask_bt)[:, 0]
        vectors: Tensor = self.text_projection(self.text_pool(first_bd).tanh())
        return vectors

    def trace(self, part: PreparedPart, seconds: float = 1.0) -> Traced:
        """One part with all that is looked at on its way; ``seconds``: how long a sound is."""
        if part.modality is Modality.TEXT:
            return trace_text(part, self.encode_text, self.text.token, self.text.flow)
        mel = torch.from_numpy(np.asarray(part.arrays["log_mel"], np.float32))[None]
        leaf = mel.to(self.logit_scale.device).requires_grad_()
        with record(gradients=True) as recorder:
            vector_bd = self.encode_audio(leaf)
        places = self.audio.cells(seconds)
        pooled = Step(self.audio.mean, [len(places)], range(len(places)))
        looked = Looked(
            flow=Flow(groups=[[pooled]], readers=[len(places)], count=len(places) + 1),
            recorder=recorder,
            places=[places],
            leaf=leaf,
            spread=over_frames(places, seconds),
        )
        return Traced(vector=unit(vector_bd), passes=[looked])

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        """Unit vectors ``[n, dim]``; a mixed item is the mean of its parts."""
        return embed_parts(self, items, self.encoders, self.config.dim)

    def _texts(self, parts: Sequence[PreparedPart]) -> Tensor:
        return self.encode_text(*pad_ids(parts, self.logit_scale.device))

    def _sounds(self, parts: Sequence[PreparedPart]) -> Tensor:
        frames = torch.from_numpy(np.stack([part.arrays["log_mel"] for part in parts]))
        return self.encode_audio(frames.to(self.logit_scale.device, self.logit_scale.dtype))
