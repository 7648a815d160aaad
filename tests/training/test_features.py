"""The trunk's features on disk: what training reads is what the model will see."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from chiasm.data.builders.plan import Gallery, make_plan, paint
from chiasm.data.builders.views import ViewConfig
from chiasm.errors import DataError
from chiasm.training import features
from chiasm.training.features import Trunk, load_features, make_trunk, write_shard
from tiny_corpus import SMALL_PLAN, tiny_concepts, write_gallery
from tiny_model import SIDE, tiny_model

VIEWS = ViewConfig(side=16)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return write_gallery(tmp_path_factory.mktemp("pictures"))


def shards(
    gallery: Gallery, folder: Path, trunk: Trunk, count: int, *indices: int, views: ViewConfig = VIEWS
) -> list[bool]:
    concepts = tiny_concepts()
    plan = make_plan(gallery, concepts, SMALL_PLAN)[:count]
    return [
        write_shard(i, plan, gallery=gallery, concepts=concepts, trunk=trunk, folder=folder, views=views)
        for i in indices
    ]


def mean_colour(pixels: NDArray[np.uint8]) -> Any:
    """A trunk that can be checked by hand: everything is the picture's mean."""
    mean = pixels.mean(axis=(1, 2, 3)).astype(np.float32)
    return np.tile(-mean[:, None, None, None], (1, 2, 4, 4)), np.repeat(mean[:, None], 5, axis=1)


def test_missing_shards_leave_gaps_that_the_view_numbers_know(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SHARD", 4)
    assert shards(gallery, tmp_path, mean_colour, 10, 0, 2, 3) == [True, True, False], (
        "there is no fourth shard"
    )
    assert shards(gallery, tmp_path, mean_colour, 10, 0) == [False], "what is there is not made again"
    found = load_features(tmp_path)
    assert found.views.tolist() == [0, 1, 2, 3, 8, 9]
    assert (found.fine.shape, found.pooled.shape) == ((6, 2, 4, 4), (6, 5))
    plan = make_plan(gallery, tiny_concepts(), SMALL_PLAN)
    means = [paint(plan[i], gallery, tiny_concepts(), VIEWS).mean() for i in found.views]
    np.testing.assert_allclose(found.pooled[:, 0], means, rtol=2e-3)
    np.testing.assert_array_equal(found.fine[:, 1, 2, 3], -found.pooled[:, 0])


def test_a_killed_writer_leaves_no_half_shard(gallery: Gallery, tmp_path: Path) -> None:
    def killed(pixels: NDArray[np.uint8]) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards(gallery, tmp_path, killed, 3, 0)
    assert list(tmp_path.glob("*.npz")) == []


def test_stored_features_are_what_the_image_tower_reads(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "find_spec", lambda name: None)  # torch, whatever else is installed
    tower = tiny_model().image
    views = ViewConfig(side=SIDE)
    shards(gallery, tmp_path, make_trunk(tower.trunk, torch.get_num_threads()), 2, 0, views=views)
    found = load_features(tmp_path)
    plan = make_plan(gallery, tiny_concepts(), SMALL_PLAN)[:2]
    pixels = np.stack([paint(spec, gallery, tiny_concepts(), views) for spec in plan])
    tokens, pooled = tower.read(torch.from_numpy(pixels))
    again, _ = tower.read_fine(torch.from_numpy(found.fine).float())
    np.testing.assert_allclose(again.numpy(), tokens.numpy(), atol=0.02)
    np.testing.assert_allclose(found.pooled, pooled.numpy(), atol=0.02)
    assert np.abs(found.fine[0] - found.fine[1]).max() > 0.1, "two pictures are two"


def test_features_that_were_not_computed_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="step features"):
        load_features(tmp_path)
