"""Sound → Whisper's log-mel frames (Radford et al. 2022, sec. 2.2): 25 ms long, 10 ms apart, at 16 kHz."""

from functools import lru_cache

import soxr
import torch
import torch.nn.functional as F
from torch import Tensor

from chiasm.modality import Audio
from chiasm.preprocess.audio import mel_filters
from chiasm.preprocess.config import AudioPreprocess

RATE, SPAN, HOP = 16_000, 400, 160
FLOOR = 1e-10
"""Least power of a band."""
RANGE = 8.0
"""Powers of ten between the loudest band and the softest that is told apart."""
FRAMES_AT_ONCE = 6000


def samples_of(audio: Audio) -> Tensor:
    """float32 samples ``[n]`` at 16 kHz."""
    samples = audio.samples if audio.rate == RATE else soxr.resample(audio.samples, audio.rate, RATE)
    return torch.tensor(samples, dtype=torch.float32)


def log_mel(samples_n: Tensor, mels: int = 80) -> Tensor:
    """float32 frames ``[n // 160, mels]`` of samples in [-1, 1] at 16 kHz, centred at every 160th.

    The levels depend on the loudest of all frames. Computed in single precision, on the samples' device.

    Raises:
        ValueError: samples of another shape, too few to be mirrored at the ends, or not finite.
    """
    if samples_n.dim() != 1 or len(samples_n) <= SPAN // 2:
        raise ValueError(f"expected more than {SPAN // 2} samples [n], got {list(samples_n.shape)}")
    if not bool(samples_n.isfinite().all()):
        raise ValueError("expected finite samples, got NaN or infinity")
    padded_n = F.pad(samples_n.float()[None], (SPAN // 2, SPAN // 2), mode="reflect")[0]
    spans_fn = padded_n.unfold(0, SPAN, HOP)[: len(samples_n) // HOP]
    window_n = torch.hann_window(SPAN, device=samples_n.device)
    filters_nm = _filters(mels).to(samples_n.device)
    power_fm = torch.cat(  # some at a time: the spectra of an hour fill half a gigabyte
        [
            torch.fft.rfft(some_fn * window_n).abs().square() @ filters_nm
            for some_fn in torch.split(spans_fn, FRAMES_AT_ONCE)
        ]
    )
    levels_fm = power_fm.clamp(min=FLOOR).log10()
    return (levels_fm.clamp(min=levels_fm.max() - RANGE) + 4.0) / 4.0


@lru_cache(maxsize=4)
def _filters(mels: int) -> Tensor:
    """``[201, mels]``, from 0 to 8 kHz."""
    config = AudioPreprocess(rate=RATE, window=SPAN, hop=HOP, fft=SPAN, mels=mels, fmin=0.0, fmax=RATE / 2)
    return torch.from_numpy(mel_filters(config)).float()
