"""Parts of a ViT or a BERT for other models: what comes before the first block, and the shape of a block."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.model import Bert
from chiasm.models.vit.config import VitConfig
from chiasm.models.vit.model import Vit
from chiasm.nn.blocks import BlockConfig


class PictureStem(nn.Module):
    """Patches and positions, the class token first if there is one."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        # only states are taken: the pooling is one without weights
        self.vit = Vit(
            replace(config, depth=0, pooling="class" if config.class_token else "mean", norm_last="states")
        )
        self.vit.encoder.norm = nn.Identity()

    def forward(self, pixels_bhwc: Tensor) -> Tensor:
        """uint8 ``[b, h, w, 3]`` → ``[b, p, width]``."""
        states: Tensor = self.vit(pixels_bhwc)[1]
        return states

    def start(self, vit: Vit) -> None:
        """Begin from the stem of a trained ViT of the same shape.

        Raises:
            ValueError: it has another shape, or its pixels were folded for inference.
        """
        ours, theirs = self.vit.config, vit.config
        same = ("side", "patch", "width", "class_token", "norm_first", "patch_bias", "mean", "std")
        for name in same:
            if getattr(ours, name) != getattr(theirs, name):
                raise ValueError(
                    f"expected a ViT of {name} {getattr(ours, name)}, got {getattr(theirs, name)}"
                )
        if vit.folded:
            raise ValueError("expected a ViT as it was trained, got one with folded pixels")
        self.vit.load_state_dict(_without(vit, ("encoder.", "pool.")))


class TextStem(nn.Module):
    """Embeddings of tokens, positions and the first type, normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = Bert(replace(config, depth=0))

    def forward(self, ids_bt: Tensor) -> Tensor:
        """Ids → ``[b, t, width]``."""
        states: Tensor = self.bert(ids_bt, torch.ones_like(ids_bt, dtype=torch.bool))
        return states

    def start(self, bert: Bert) -> None:
        """Begin from the embeddings of a trained BERT of the same shape.

        Raises:
            ValueError: it has another shape.
        """
        for name in ("vocabulary", "positions", "token_types", "width"):
            ours, theirs = getattr(self.bert.config, name), getattr(bert.config, name)
            if ours != theirs:
                raise ValueError(f"expected a BERT of {name} {ours}, got {theirs}")
        self.bert.load_state_dict(_without(bert, ("encoder.",)))


def _without(model: nn.Module, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: t for name, t in model.state_dict().items() if not name.startswith(prefixes)}


def vision_block(config: VitConfig, context_width: int | None = None) -> BlockConfig:
    """Shape of a ViT's block; with a context it looks across, too."""
    return BlockConfig(
        width=config.width,
        heads=config.heads,
        hidden=config.hidden,
        activation=config.activation,
        epsilon=config.epsilon,
        context_width=context_width,
    )


def text_block(config: BertConfig, context_width: int | None = None) -> BlockConfig:
    """Shape of a BERT's block; with a context it looks across, too."""
    return BlockConfig(
        width=config.width,
        heads=config.heads,
        hidden=config.hidden,
        norm="post",
        activation=config.activation,
        epsilon=config.epsilon,
        context_width=context_width,
    )
