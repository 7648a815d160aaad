"""Stages that go on from a checkpoint's weights."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chiasm.checkpoints import load, save
from chiasm.errors import CheckpointError
from chiasm.training import start as module
from chiasm.training.start import START, STATE, begin_from, stage_modules, weights_of
from tiny_model import CHINESE, tiny_model, tiny_preprocess, tiny_tokenizer


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    save(
        folder,
        model=tiny_model(seed=3),
        name="tiny",
        licence="Apache-2.0",
        preprocess=tiny_preprocess(),
        tokenizer_json=tiny_tokenizer().to_str(),
        words=CHINESE,
        logit_scale=20.0,
        calibration={},
        metrics={},
        card="",
    )
    return folder


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    tokenizer = tiny_tokenizer()
    bert = SimpleNamespace(config=SimpleNamespace(vocabulary=tokenizer.get_vocab_size()))
    monkeypatch.setattr(module, "load_minilm", lambda: (bert, tokenizer))
    return SimpleNamespace(words=lambda english: (list(CHINESE), [], None))


def test_every_stage_begins_with_the_checkpoints_weights(
    checkpoint: Path, corpus: Any, tmp_path: Path
) -> None:
    begin_from(checkpoint, corpus, tmp_path / "runs")
    model = load(checkpoint).model
    for name, part in stage_modules(model).items():
        found = weights_of(tmp_path / "runs" / name)
        assert found.keys() == part.state_dict().keys()
        assert all(torch.equal(found[key], value) for key, value in part.state_dict().items())
    words = weights_of(tmp_path / "runs" / "text")["words"]
    assert torch.equal(words, model.text.token.weight[-len(CHINESE) :])


def test_what_was_trained_comes_before_what_it_began_with(
    checkpoint: Path, corpus: Any, tmp_path: Path
) -> None:
    begin_from(checkpoint, corpus, tmp_path)
    trained = {"summary": torch.ones(3)}
    torch.save({"mean": trained}, tmp_path / "fusion" / STATE)
    assert torch.equal(weights_of(tmp_path / "fusion")["summary"], trained["summary"])
    begin_from(checkpoint, corpus, tmp_path)
    assert (tmp_path / "video" / START).exists()
    assert torch.equal(weights_of(tmp_path / "fusion")["summary"], trained["summary"])


def test_a_checkpoint_of_other_words_is_refused(checkpoint: Path, corpus: Any, tmp_path: Path) -> None:
    corpus.words = lambda english: (["狗"], [], None)
    with pytest.raises(CheckpointError, match="expected a checkpoint with this corpus's 1 words"):
        begin_from(checkpoint, corpus, tmp_path)


def test_there_is_nothing_before_a_stage_began(tmp_path: Path) -> None:
    assert weights_of(tmp_path / "image") == {}
