"""Shape of a Whisper."""

from dataclasses import dataclass

from chiasm.nn.blocks import Activation


@dataclass(frozen=True, kw_only=True)
class WhisperConfig:
    """Defaults are Whisper tiny's.

    Attributes:
        mels: bands of the log-mel spectrogram (80, or 128 from large-v3 on).
        frames: states that the encoder makes of a window, two log-mel frames each (20 ms).
        positions: tokens that the decoder can tell apart.
        depth, heads, hidden: of the encoder and of the decoder.
    """

    vocabulary: int = 51_865
    mels: int = 80
    frames: int = 1500
    positions: int = 448
    width: int = 384
    encoder_depth: int = 4
    encoder_heads: int = 6
    encoder_hidden: int = 1536
    decoder_depth: int = 4
    decoder_heads: int = 6
    decoder_hidden: int = 1536
    activation: Activation = "gelu"

    @property
    def window(self) -> int:
        """Log-mel frames that the encoder takes at once (3000: 30 s)."""
        return 2 * self.frames
