"""The audio tower of chiasm-mini: log-mel frames → a vector in the text space, tokens, phonemes, speech or
sound.

A convolutional encoder after ConvNeXt (Liu et al. 2022, depthwise convolution, then a pointwise bottleneck)
at a
quarter of the frame rate; above it attention pooling with eight heads whose attention depends on what is
heard and
on where in the clip it is, and a CTC head (Graves et al. 2006) over phonemes of both languages.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.models.mini.phonemes import UNITS
from chiasm.nn.recorder import active_recorder

STRIDE = 4
"""Frames of log-mel per step of the encoder."""
CTC_PER_STEP = 2
"""Places of the phoneme head in each step of the encoder."""


@dataclass(frozen=True, kw_only=True)
class AudioEncoderConfig:
    """Shape of the tower.

    Attributes:
        mels: bands of the input. width: channels of the trunk. blocks: of the trunk. kernel: its depthwise
        width.
        expansion: of the pointwise bottleneck. heads: pooling heads, which are also the tokens. dim: of the
        text space.
        units: outputs of the CTC head, blank first. range_nats: what lies this far below a clip's peak is
        silence.
    """

    mels: int = 64
    stem: int = 128
    width: int = 192
    blocks: int = 6
    kernel: int = 9
    expansion: int = 2
    heads: int = 8
    dim: int = 384
    units: int = len(UNITS)
    range_nats: float = 9.0


class AudioOutput(NamedTuple):
    """What the tower says of ``b`` clips.

    Attributes:
        vector: [b, dim], not normalised. tokens: [b, heads, dim]; their sum is ``vector``.
        units: CTC logits [b, steps, units]. steps: int64 [b], how many of them count.
        speech: [b], logit of speech against sound.
    """

    vector: Tensor
    tokens: Tensor
    units: Tensor
    steps: Tensor
    speech: Tensor


class AudioEncoder(nn.Module):
    """Log-mel → :class:`AudioOutput`. What pads a batch changes nothing."""

    def __init__(self, config: AudioEncoderConfig | None = None) -> None:
        super().__init__()
        config = config or AudioEncoderConfig()
        self.config = config
        self.stem = nn.Linear(5 * config.mels, config.stem)
        self.reduce = nn.Linear(3 * config.stem, config.width)
        self.blocks = nn.ModuleList(
            _Block(config.width, config.kernel, config.expansion) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        # A step is 50 ms, and speech has up to twenty phonemes a second: CTC needs more places than that.
        self.ctc = nn.Linear(config.width, CTC_PER_STEP * config.units)
        self.pool = _Pool(config)

    def forward(self, log_mel: Tensor, lengths: Tensor) -> AudioOutput:
        """Encode a batch.

        Args:
            log_mel: [b, f, mels], natural logarithm of mel power.
            lengths: int64 [b], frames that count in each clip, 1 to f.
        """
        x, mask = self._level(log_mel, lengths)
        x, lengths, mask = _halve(self.stem, x, lengths)
        x = F.gelu(x)
        x, lengths, mask = _halve(self.reduce, x, lengths)
        for block in self.blocks:
            x = block(x, mask)
        hidden = self.norm(x)
        tokens, speech = self.pool(hidden, lengths, mask)
        units = self.ctc(hidden).view(len(hidden), -1, self.config.units)
        return AudioOutput(tokens.sum(1), tokens, units, lengths * CTC_PER_STEP, speech)

    def _level(self, log_mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Make a clip's loudness and its digital silence not matter; zero the padding."""
        mask = _mask(lengths, log_mel.shape[1])
        peak = log_mel.masked_fill(~mask, -torch.inf).amax((1, 2), keepdim=True)
        x = torch.maximum(log_mel, peak - self.config.range_nats) - peak
        x = x / (self.config.range_nats / 4) + 2.5
        return x.masked_fill(~mask, 0.0), mask


class _Block(nn.Module):
    """Depthwise convolution → norm → pointwise up → GELU → pointwise down, added to the input; [b, f,
    width]."""

    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.depthwise = nn.Parameter(torch.randn(kernel, width) * kernel**-0.5)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[b, f, width] and bool [b, f, 1] → [b, f, width], zero where the mask is False."""
        y = _depthwise(x, self.depthwise)
        y = self.down(F.gelu(self.up(self.norm(y))))
        added: Tensor = (x + y) * mask
        return added


class _Pool(nn.Module):
    """Attention pooling: one query per head, and a Gaussian window over the relative position in the clip."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        heads, width = config.heads, config.width
        self.content = nn.Linear(width, heads)
        self.centre = nn.Parameter(torch.linspace(0.0, 1.0, heads))
        self.sharpness = nn.Parameter(torch.full((heads,), 2.5))
        self.mix = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.project = nn.Parameter(torch.randn(heads, width, config.dim) * (heads * width) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(config.dim))
        self.speech = nn.Linear(heads * width, 1)

    def forward(self, x: Tensor, lengths: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[b, f, width], [b], bool [b, f, 1] → tokens [b, heads, dim], speech logit [b]."""
        place = (
            torch.arange(x.shape[1], device=x.device) / (lengths - 1).clamp_min(1)[:, None]
        )  # [b, f], 0 to 1
        window = -F.softplus(self.sharpness) * 4 * (place[..., None] - self.centre).square()  # [b, f, heads]
        scores = (self.content(x) + window).masked_fill(~mask, -torch.inf)
        alpha = scores.softmax(1).transpose(1, 2)  # [b, heads, f]
        recorder = active_recorder()
        if recorder is not None:
            alpha = alpha.unsqueeze(2)
            recorder.add(self, alpha)
            alpha = alpha.squeeze(2)
        pooled = alpha @ x  # [b, heads, width]
        tokens = torch.einsum("bhw,hwd->bhd", self.mix(pooled), self.project)
        return tokens + self.bias / len(self.centre), self.speech(pooled.flatten(1)).squeeze(1)


def _depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """Depthwise convolution as a sum of shifted products: [b, f, c], [kernel, c] → [b, f, c].

    On a CPU its backward takes a fraction of that of ``Conv1d(groups=c)``.
    """
    kernel, frames = weight.shape[0], x.shape[1]
    padded = F.pad(x, (0, 0, kernel // 2, kernel // 2))
    y = padded[:, :frames] * weight[0]
    for shift in range(1, kernel):
        y = torch.addcmul(y, padded[:, shift : shift + frames], weight[shift])
    return y


def _mask(lengths: Tensor, frames: int) -> Tensor:
    return (torch.arange(frames, device=lengths.device) < lengths[:, None])[..., None]


def _halve(window: nn.Linear, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A convolution of stride 2 as one matrix product over windows (quicker than Conv1d on a CPU, backward
    above all).

    [b, f, c] → [b, ceil(f / 2), window.out_features], with the new lengths and mask.
    """
    kernel = window.in_features // x.shape[2]
    padded = F.pad(x, (0, 0, kernel // 2, kernel // 2))
    x = window(padded.unfold(1, kernel, 2).flatten(2))
    lengths = (lengths + 1) // 2
    mask = _mask(lengths, x.shape[1])
    return x * mask, lengths, mask
