import numpy as np
import pytest
import torch

from chiasm.data.builders.mels import read_shard, write_shard
from chiasm.data.builders.spoken import Phrase
from chiasm.models.mini.audio import AudioEncoder, AudioEncoderConfig
from chiasm.training.loop import LoopConfig, run_stage
from chiasm.training.stages.audio import AudioStage, AudioStageConfig, edits, greedy, recall
from chiasm.training.stages.audio_batches import AudioBatches, plain, spoil

NAMES = ("violin", "apple", "dog")
PHRASES = [
    Phrase(text=name, target=name, language="en", units=(3 + i, 9 + i), held_out=False, category="x")
    for i, name in enumerate(NAMES)
]


@pytest.fixture
def shards(tmp_path):
    """Three "words" and one "sound", each a pattern of its own with some noise, of 30 to 50 frames."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(-4, 2, (4, 50, 64)).astype(np.float32)

    def clips(labels):
        for n, label in enumerate(labels):
            noise = rng.normal(0, 0.3, (50, 64)).astype(np.float32)
            yield (patterns[label] + noise)[: 30 + n % 20], label % 3, n

    write_shard(tmp_path / "speech", clips([n % 3 for n in range(24)]))
    write_shard(tmp_path / "sounds", clips([3] * 6))
    return read_shard(tmp_path / "speech"), read_shard(tmp_path / "sounds")


def make_stage(shards, steps=6):
    torch.manual_seed(0)
    speech, sounds = shards
    rng = np.random.default_rng(1)
    vectors = {
        name: v / np.linalg.norm(v)
        for name in (*NAMES, "rain")
        for v in [rng.normal(size=16).astype(np.float32)]
    }
    config = AudioEncoderConfig(stem=16, width=24, blocks=1, dim=16)
    return AudioStage(
        module=AudioEncoder(config),
        batches=AudioBatches(
            speech=speech, easy=speech, sounds=sounds.shifted(3), size=8, easy_steps=2, clean_steps=2
        ),
        phrases=PHRASES,
        sounds=["rain"],
        vectors=vectors,
        checks={"en": speech},
        config=AudioStageConfig(steps=steps, warm_up=2),
    )


def test_a_batch_is_a_function_of_its_step(shards):
    stage, again = make_stage(shards), make_stage(shards)
    again.batch(3)
    for step in (0, 1, 5):
        first, second = stage.batch(step), again.batch(step)
        np.testing.assert_array_equal(first.log_mel, second.log_mel)
        np.testing.assert_array_equal(first.labels, second.labels)
    assert not np.array_equal(stage.batch(0).log_mel, stage.batch(1).log_mel)


def test_a_batch_holds_speech_and_sounds(shards):
    batch = make_stage(shards).batch(0)
    assert batch.speech.tolist() == [True] * 7 + [False]
    assert (batch.labels[:7] < 3).all()
    assert batch.labels[7] == 3
    assert (batch.lengths >= 1).all()
    assert batch.log_mel.shape == (8, batch.lengths.max(), 64)


def test_a_run_that_was_interrupted_ends_like_one_that_was_not(shards, tmp_path):
    whole, halves = make_stage(shards), make_stage(shards)
    run_stage(whole, tmp_path / "whole", LoopConfig(evaluate_every=100), lambda entry: None)
    run_stage(halves, tmp_path / "halves", LoopConfig(evaluate_every=100, seconds=0), lambda entry: None)
    fresh = make_stage(shards)
    run_stage(fresh, tmp_path / "halves", LoopConfig(evaluate_every=100), lambda entry: None)
    for name, value in whole.module.state_dict().items():
        torch.testing.assert_close(value, fresh.module.state_dict()[name], msg=name)


def test_the_losses_fall_on_one_batch(shards):
    stage = make_stage(shards)
    optimiser, batch = stage.optimiser(), stage.batch(0)
    first = {name: float(value.detach()) for name, value in stage.loss(batch).items()}
    for _ in range(60):
        losses = stage.loss(batch)
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
    for name, value in losses.items():
        assert float(value.detach()) < 0.6 * first[name], name


def test_the_figures_name_what_they_are_of(shards):
    stage = make_stage(shards)
    stage.module.eval()
    with torch.inference_mode():
        figures = stage.evaluate()
    assert set(figures) == {"en R@1", "en R@5", "en phoneme errors"}
    assert figures["en R@5"] == 100  # of three names


def test_spoilt_clips_stay_finite_and_of_their_shape(shards):
    clips, lengths = plain(shards[0], range(8))
    for seed in range(20):
        spoilt = spoil(clips, lengths, np.random.default_rng(seed))
        assert spoilt.shape == clips.shape
        assert spoilt.dtype == np.float32
        assert np.isfinite(spoilt).all()


def test_recall_counts_ties_against():
    gallery = np.eye(3, dtype=np.float32)
    vectors = np.array([[1, 0, 0], [0.5, 0.5, 0]], np.float32)
    assert recall(vectors, np.array([0, 1]), gallery) == (50.0, 100.0)


def test_paths_and_distances():
    logs = np.log(
        np.array([[0.1, 0.9, 0], [0.1, 0.9, 0], [0.9, 0.1, 0], [0, 0.9, 0.1], [0, 0.1, 0.9]]) + 1e-9
    )
    assert greedy(logs.astype(np.float32)) == (1, 1, 2)
    assert edits("kitten", "sitting") == 3
    assert edits("", "abc") == 3
