"""A chiasm-mini of random numbers that is small and quick but otherwise whole: the models of tests."""

import copy
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from chiasm.checkpoints import save
from chiasm.models.bert.config import BertConfig
from chiasm.models.efficientnet.config import EfficientNetConfig
from chiasm.models.efficientnet.model import EfficientNet
from chiasm.models.mini.audio import AudioEncoderConfig
from chiasm.models.mini.config import MiniConfig
from chiasm.models.mini.fusion import FusionConfig
from chiasm.models.mini.image import ImageHeadConfig
from chiasm.models.mini.model import ChiasmMini
from chiasm.models.mini.video import MotionConfig
from chiasm.preprocess import (
    AudioPreprocess,
    ImagePreprocess,
    PreprocessConfig,
    TextPreprocess,
    VideoPreprocess,
)

WIDTH = 64
SIDE = 64
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ENGLISH = (
    *("a", "an", "the", "this", "is", "of", "in", "on", "and", "example"),
    *("red", "green", "blue", "yellow", "apple", "cat", "dog", "bird", "car", "piano"),
)
CHINESE = ("苹", "果", "猫", "狗", "红", "绿", "一", "这", "是", "苹果", "红色", "绿色")


def tiny_tokenizer() -> Tokenizer:
    """WordPiece over some English words and all letters and digits, in BERT's way."""
    signs = "abcdefghijklmnopqrstuvwxyz0123456789"
    letters = [sign for sign in signs if sign not in ENGLISH]
    pieces = [*SPECIAL, *ENGLISH, *letters, *(f"##{sign}" for sign in signs), *".,!?-'"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def tiny_config(vocabulary: int) -> MiniConfig:
    """All towers, 64 wide; the trunk has the only shape it can have."""
    return MiniConfig(
        text=BertConfig(vocabulary=vocabulary, positions=64, width=WIDTH, depth=2, heads=4, hidden=128),
        trunk=EfficientNetConfig(classes=0),
        image=ImageHeadConfig(
            positions=4, hidden=64, width=32, heads=2, feed_forward=64, depth=1, queries=2, dim=WIDTH
        ),
        audio=AudioEncoderConfig(mels=32, stem=32, width=64, blocks=2, kernel=5, heads=2, dim=WIDTH),
        motion=MotionConfig(side=16, width=32, heads=2, hidden=64, depth=1, dim=WIDTH),
        fusion=FusionConfig(width=WIDTH, heads=4, hidden=64, depth=1, parts=4),
    )


def tiny_preprocess() -> PreprocessConfig:
    """Fits :func:`tiny_config`."""
    return PreprocessConfig(
        text=TextPreprocess(max_tokens=48),
        image=ImagePreprocess(side=SIDE),
        audio=AudioPreprocess(mels=32, max_seconds=4.0),
        video=VideoPreprocess(frames=4),
    )


def tiny_model(seed: int = 0) -> ChiasmMini:
    """Random weights whose vectors depend on the input as much as those of a trained model."""
    return copy.deepcopy(_made(seed))


@cache
def _made(seed: int) -> ChiasmMini:
    torch.manual_seed(seed)
    model = ChiasmMini(tiny_config(tiny_tokenizer().get_vocab_size() + len(CHINESE)))
    for layer in (model.image.head.correction, model.fusion.correction):  # they start at zero
        torch.nn.init.normal_(layer.weight, std=0.1)
    trunk, noise = model.image.trunk, torch.randn(8, 3, 8, 8)
    settle_norms(trunk, lambda: trunk.features(F.interpolate(noise, size=(SIDE, SIDE), mode="bilinear")))
    return model.eval().requires_grad_(False)


def write_tiny_checkpoint(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A checkpoint folder of :func:`tiny_model`; ``changes`` replace arguments of ``save``."""
    words: Sequence[str] = CHINESE
    arguments: dict[str, Any] = {
        "model": tiny_model(seed),
        "name": "tiny",
        "licence": "Apache-2.0",
        "preprocess": tiny_preprocess(),
        "tokenizer_json": tiny_tokenizer().to_str(),
        "words": words,
        "logit_scale": 20.0,
        "metrics": {"R@1": 0.5},
        "card": "# tiny\n\nRandom numbers.\n",
    }
    save(folder, **(arguments | changes))
    return folder


@torch.no_grad()
def settle_norms(trunk: EfficientNet, run: Callable[[], object]) -> None:
    """The batch norms get the statistics of what ``run`` shows them: else a random trunk fades out."""
    norms = [module for module in trunk.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    trunk.train()
    run()
    for norm in norms:
        norm.momentum = 0.1
    trunk.eval()
