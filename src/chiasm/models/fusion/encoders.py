"""Encoders that tell their states after every block."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.model import Bert
from chiasm.models.fusion.config import EncoderConfig, StatesConfig
from chiasm.models.stems import PictureStem, TextStem, text_block, vision_block
from chiasm.models.vit.config import VitConfig
from chiasm.models.vit.model import Vit
from chiasm.nn.blocks import Encoder
from chiasm.nn.relevance import Positions, Step

Values = Tensor | Sequence[Tensor]


@runtime_checkable
class TellsLayers(Protocol):
    """What fusion asks of an encoder; any module that has it may take the place of ours."""

    def layers(self, values: Values, mask_bt: Tensor | None) -> list[Tensor]:
        """States ``[b, t, d]`` after each block, the last as the encoder would return them."""


@runtime_checkable
class TellsLooks(Protocol):
    """What an encoder has that can say where it looked; one without it is taken for not looking around."""

    def looks(self, own: Positions) -> list[list[Step]]:
        """Who looks at whom, block by block."""


class PictureLayers(nn.Module):
    """ViT; its values are uint8 pixels ``[b, h, w, 3]``."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.stem = PictureStem(config)
        self.encoder = Encoder(vision_block(config), config.depth)

    def layers(self, values: Values, mask_bt: Tensor | None) -> list[Tensor]:
        """See :class:`TellsLayers`."""
        assert isinstance(values, Tensor)
        return _climb(self.encoder, self.stem(values), mask_bt)

    def looks(self, own: Positions) -> list[list[Step]]:
        """See :class:`TellsLooks`."""
        return self.encoder.looks(own)

    def start(self, vit: Vit) -> None:
        """Begin from trained weights; ValueError if they are of another shape."""
        self.stem.start(vit)
        self.encoder.load_state_dict(vit.encoder.state_dict())


class TextLayers(nn.Module):
    """BERT; its values are token ids ``[b, t]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.stem = TextStem(config)
        self.encoder = Encoder(text_block(config), config.depth)

    def layers(self, values: Values, mask_bt: Tensor | None) -> list[Tensor]:
        """See :class:`TellsLayers`."""
        assert isinstance(values, Tensor)
        return _climb(self.encoder, self.stem(values), mask_bt)

    def looks(self, own: Positions) -> list[list[Step]]:
        """See :class:`TellsLooks`."""
        return self.encoder.looks(own)

    def start(self, bert: Bert) -> None:
        """Begin from trained weights; ValueError if they are of another shape."""
        self.stem.start(bert)
        self.encoder.load_state_dict(bert.encoder.state_dict())


class GivenLayers(nn.Module):
    """An encoder elsewhere; its values are its states ``[b, t, d]``, or a sequence of them, one a layer."""

    def __init__(self, config: StatesConfig) -> None:
        super().__init__()
        self.config = config

    def layers(self, values: Values, mask_bt: Tensor | None) -> list[Tensor]:
        """See :class:`TellsLayers`.

        Raises:
            ValueError: another number of layers.
        """
        given = [values] if isinstance(values, Tensor) else list(values)
        if len(given) != self.config.depth:
            raise ValueError(f"expected states of {self.config.depth} layers, got {len(given)}")
        return given


def make_encoder(config: EncoderConfig) -> nn.Module:
    """The encoder of this shape."""
    if isinstance(config, VitConfig):
        return PictureLayers(config)
    if isinstance(config, BertConfig):
        return TextLayers(config)
    return GivenLayers(config)


def _climb(encoder: Encoder, x_btd: Tensor, mask_bt: Tensor | None) -> list[Tensor]:
    # a row whose modality is missing is masked whole: attention gives it nothing, which is no NaN
    states = []
    for block in encoder.blocks:
        x_btd = block(x_btd, mask_bt)
        states.append(x_btd)
    states[-1] = encoder.norm(states[-1])
    return states
