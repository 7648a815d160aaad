"""The same vectors, sooner: what is worth doing to a model that is not trained any more."""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from chiasm.models.efficientnet.model import EfficientNet
from chiasm.models.mini.model import ChiasmMini
from chiasm.nn.packed import pack
from chiasm.nn.quantised import QuantisedEmbedding

_NORM = "_norm"


def optimise_for_inference(model: ChiasmMini) -> ChiasmMini:
    """Fold the trunk's batch norms into its convolutions, lay these out channels last, pack the Transformers'
    linear maps, and hold the words in int8, as checkpoints do.

    Twice as fast on a CPU, in a third less memory. Works in place; afterwards the model can neither be
    trained nor saved. Doing it twice changes nothing.
    """
    model.eval().requires_grad_(False)
    fold_norms(model.image.trunk)
    for module in model.image.trunk.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    pack(model)
    if not isinstance(model.text.token, QuantisedEmbedding):
        model.text.register_module("token", QuantisedEmbedding(model.text.token.weight))
    return model


def fold_norms(trunk: EfficientNet) -> None:
    """Each ``x_norm`` that follows a convolution ``x`` becomes part of it."""
    for module in list(trunk.modules()):
        for name, norm in list(module.named_children()):
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            convolution = getattr(module, name.removesuffix(_NORM))
            setattr(module, name.removesuffix(_NORM), fuse_conv_bn_eval(convolution, norm))
            setattr(module, name, nn.Identity())
