"""The finished stages → one checkpoint. A stage that has not been trained yet stays at its start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from chiasm.checkpoints import save
from chiasm.models.bert.config import BertConfig
from chiasm.models.efficientnet.config import EfficientNetConfig
from chiasm.models.mini.config import MiniConfig
from chiasm.models.mini.model import ChiasmMini
from chiasm.preprocess.config import Costs, ImagePreprocess, PreprocessConfig, VideoPreprocess
from chiasm.training.backbones import load_minilm, load_trunk
from chiasm.training.corpus import Corpus
from chiasm.training.image_data import class_vectors
from chiasm.training.stages.text import first_embeddings
from chiasm.training.start import stage_modules, trained_state, weights_of

LICENCE = "Apache-2.0"
LOGIT_SCALE = 25.0
PREPROCESS = PreprocessConfig(
    image=ImagePreprocess(side=192, fit="crop", trim=True),
    video=VideoPreprocess(frames=8),
    costs=Costs(text_token=0.012, image=1.0, audio_second=0.15, video_frame=0.6),
)


def build_model(corpus: Corpus, runs: Path) -> tuple[ChiasmMini, list[str], str]:
    """The model with every finished stage's weights, its new words in the order of their ids, and the base
    tokenizer (JSON)."""
    bert, english = load_minilm()
    words, meanings, _ = corpus.words(english)
    config = MiniConfig(
        text=BertConfig(vocabulary=bert.config.vocabulary + len(words)), trunk=EfficientNetConfig()
    )
    model = ChiasmMini(config).eval()
    text = bert.state_dict()
    new = weights_of(runs / "text").get("words")
    if new is None:
        new = first_embeddings(bert, english, meanings)
    text["token.weight"] = torch.cat([bert.token.weight.detach(), new.float()])
    model.text.load_state_dict(text)
    model.image.trunk.load_state_dict(load_trunk().state_dict())
    assert model.image.class_vectors is not None
    model.image.class_vectors.data = torch.from_numpy(class_vectors(corpus))
    for name, module in stage_modules(model).items():
        trained = weights_of(runs / name)
        if trained:
            missing = module.load_state_dict(trained, strict=False).missing_keys
            unexpected = [key for key in missing if key in trained_state(module)]
            if unexpected:
                raise ValueError(f"stage {name}: expected all parameters, missing {unexpected}")
    return model, words, english.to_str()


def assemble(corpus: Corpus, runs: Path, folder: Path, *, lexicon: bytes, extras: Mapping[str, Any]) -> str:
    """Write the checkpoint; returns its revision. ``extras``: hearing, calibration, metrics, card."""
    model, words, tokenizer = build_model(corpus, runs)
    return save(
        folder,
        model=model,
        name="chiasm-mini",
        licence=LICENCE,
        preprocess=PREPROCESS,
        tokenizer_json=tokenizer,
        words=words,
        logit_scale=LOGIT_SCALE,
        lexicon=lexicon,
        **extras,
    )
