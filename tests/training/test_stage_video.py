"""The video stage on a motion encoder of a few thousand numbers and two discs."""

import numpy as np
import pytest
import torch

from chiasm.data.builders.icons import VALIDATION_FAMILY
from chiasm.data.builders.plan import Gallery, Placed
from chiasm.models.mini.video import MotionConfig, MotionEncoder
from chiasm.training.stages import video
from chiasm.training.stages.video import KINDS, Drawing, VideoStage, VideoStageConfig, motion_texts
from tiny_corpus import write_gallery

MOTION = MotionConfig(side=16, width=32, heads=2, hidden=32, depth=1, dim=16)
CONFIG = VideoStageConfig(size=12, learning_rate=3e-3, spread=20.0)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return write_gallery(tmp_path_factory.mktemp("pictures"))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def make_stage(gallery: Gallery, config: VideoStageConfig = CONFIG) -> VideoStage:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    names = unit(rng.standard_normal((2, 16)))
    # As in life, all eight texts of a thing lie near its name and near each other.
    texts = names[:, None] + 0.2 * rng.standard_normal((1, 8, 16)).astype(np.float32)
    return VideoStage(
        MotionEncoder(MOTION),
        gallery=gallery,
        drawings=[Drawing(Placed("noto", row, row), row, names[row]) for row in range(2)],
        checks=[Drawing(Placed(VALIDATION_FAMILY, row, row), row, names[row]) for row in range(2)],
        texts={"en": unit(texts), "zh": unit(texts + 0.1 * rng.standard_normal((1, 8, 16)))},
        config=config,
    )


def test_the_loss_falls_on_a_batch_that_is_seen_often(gallery: Gallery) -> None:
    stage = make_stage(gallery)
    optimiser, batch = stage.optimiser(), stage.batch(0)
    losses = []
    for _ in range(25):
        loss = stage.loss(batch)
        losses.append(loss["motion"].item())
        optimiser.zero_grad()
        sum(loss.values()).backward()  # type: ignore[union-attr]
        optimiser.step()
    assert losses[-1] < 0.7 * losses[0]


def test_a_batch_is_decided_by_its_step(gallery: Gallery) -> None:
    stage = make_stage(gallery)
    first, again, other = stage.batch(2), make_stage(gallery).batch(2), stage.batch(3)
    for name in ("frames", "thing", "motion", "content"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.frames, other.frames)
    assert (first.frames.shape, first.frames.dtype) == ((12, 8, 96, 96, 3), torch.uint8)
    torch.testing.assert_close(first.content.norm(dim=1), torch.ones(12))


def test_still_clips_are_drawn_too_and_must_stay_quiet(gallery: Gallery) -> None:
    batch = make_stage(gallery, VideoStageConfig(size=12, still=0.5)).batch(0)
    assert {len(KINDS)} < set(batch.motion.tolist())


def test_the_figures_know_a_perfect_reader(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that tells the motion that it is shown, and the opposite of a clip shown backwards."""
    stage = make_stage(gallery)
    drawn = stage._clips(stage.checks, np.random.default_rng((CONFIG.seed, 1 << 30)), 24)
    monkeypatch.setattr(stage, "_clips", lambda *_: drawn)
    backwards = torch.tensor([KINDS.index(video.OPPOSITE[kind]) for kind in KINDS])

    class Oracle(torch.nn.Module):
        def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, None]:
            motion = drawn.motion.clamp(max=7)
            told = motion if torch.equal(frames, drawn.frames) else backwards[motion]
            texts = sum(stage.texts.values())[drawn.thing]  # type: ignore[index]
            return 1000 * (texts[torch.arange(24), told] - texts.mean(dim=1)), None

    assert all(0 <= figure <= 1 for figure in stage.evaluate().values())
    monkeypatch.setattr(stage, "module", Oracle())
    assert set(stage.evaluate().values()) == {1.0}
    assert list(stage.evaluate())[2:] == ["noto-v1 motion, 8 ways, zh", "reversed clips flip, zh"]


def test_eight_sentences_of_each_name() -> None:
    sentences = motion_texts(["apple", "cat"], "en")
    assert [len(row) for row in sentences] == [8, 8]
    assert sentences[0][KINDS.index("grow")] == "an apple getting bigger"
    assert motion_texts(["苹果"], "zh")[0][KINDS.index("grow")] == "苹果变大"
