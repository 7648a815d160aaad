"""From the stages' saved states to a checkpoint that loads."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import chiasm
from chiasm.models.bert.model import Bert
from chiasm.models.efficientnet.config import EfficientNetConfig
from chiasm.models.efficientnet.model import EfficientNet
from chiasm.training import assemble as module
from chiasm.training.assemble import assemble, build_model, stage_modules
from chiasm.training.stages.text import first_embeddings
from chiasm.training.teacher import embed_texts
from tiny_model import CHINESE, WIDTH, tiny_config, tiny_model, tiny_preprocess, tiny_tokenizer

MEANINGS = [["apple"] if "苹" in word else ["cat"] for word in CHINESE]


CLASSES = np.random.default_rng(0).standard_normal((1000, WIDTH)).astype(np.float32)


@pytest.fixture
def anchor(monkeypatch: pytest.MonkeyPatch) -> Bert:
    """The two backbones and the shape of the model, all tiny."""
    torch.manual_seed(5)
    tokenizer = tiny_tokenizer()
    bert = Bert(tiny_config(tokenizer.get_vocab_size()).text).eval()
    trunk = EfficientNet(EfficientNetConfig())
    monkeypatch.setattr(module, "load_minilm", lambda: (bert, tokenizer))
    monkeypatch.setattr(module, "load_trunk", lambda: trunk)
    monkeypatch.setattr(
        module, "MiniConfig", lambda text, trunk: replace(tiny_config(text.vocabulary), trunk=trunk)
    )
    monkeypatch.setattr(module, "class_vectors", lambda corpus: CLASSES)
    monkeypatch.setattr(module, "PREPROCESS", tiny_preprocess())
    return bert


@pytest.fixture
def corpus() -> Any:
    return SimpleNamespace(words=lambda english: (list(CHINESE), MEANINGS, None))


def write_state(runs: Path, stage: str, state: dict[str, torch.Tensor]) -> None:
    (runs / stage).mkdir(parents=True)
    torch.save({"mean": state}, runs / stage / "state.pt")


def test_a_stage_that_was_not_trained_stays_at_its_start(anchor: Bert, corpus: Any, tmp_path: Path) -> None:
    model, words, _ = build_model(corpus, tmp_path)
    table = model.text.token.weight
    assert words == list(CHINESE)
    assert torch.equal(table[: -len(CHINESE)], anchor.token.weight)
    np.testing.assert_array_equal(model.image.class_vectors, CLASSES)
    torch.testing.assert_close(table[-len(CHINESE) :], first_embeddings(anchor, tiny_tokenizer(), MEANINGS))


def test_each_trained_stage_comes_to_its_place(anchor: Bert, corpus: Any, tmp_path: Path) -> None:
    trained = tiny_model(seed=3)
    for name, part in stage_modules(trained).items():
        write_state(tmp_path, name, part.state_dict())
    words = torch.randn(len(CHINESE), anchor.config.width)
    write_state(tmp_path, "text", {"words": words})
    model, _, _ = build_model(corpus, tmp_path)
    assert torch.equal(model.text.token.weight[-len(CHINESE) :], words)
    for name, part in stage_modules(model).items():
        for key, value in stage_modules(trained)[name].state_dict().items():
            assert torch.equal(part.state_dict()[key], value), f"{name}.{key}"


def test_a_state_that_lacks_parameters_is_refused(anchor: Bert, corpus: Any, tmp_path: Path) -> None:
    state = dict(tiny_model().fusion.state_dict())
    del state["summary"]
    write_state(tmp_path, "fusion", state)
    with pytest.raises(ValueError, match=r"fusion.*summary"):
        build_model(corpus, tmp_path)


def test_the_checkpoint_loads_and_its_english_is_the_anchors(
    anchor: Bert, corpus: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    revision = assemble(corpus, tmp_path / "runs", folder, lexicon=b"", extras={"metrics": {"R@1": 0.5}})
    model = chiasm.load(folder, device="cpu")
    assert (model.description.name, model.description.revision) == ("chiasm-mini", revision)
    texts = ["a red apple", "the dog and the cat"]
    ours = np.asarray(model.embed(texts))
    np.testing.assert_allclose(ours, embed_texts(anchor, tiny_tokenizer(), texts), atol=2e-2)
