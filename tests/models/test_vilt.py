"""ViLT: padding, what one side alone does, and what is looked at."""

from dataclasses import replace

import pytest
import torch
from cross_modal import TEXT, VISION
from torch import Tensor

from chiasm.models.vilt.config import ViltConfig, ViltHeadsConfig
from chiasm.models.vilt.heads import HeadedVilt
from chiasm.models.vilt.model import Vilt
from chiasm.nn.recorder import record
from chiasm.preprocess.places import Place

SHAPE = ViltConfig(vision=replace(VISION, depth=3), text=replace(TEXT, depth=0), types=3)


def a_model(most: int = 0) -> Vilt:
    torch.manual_seed(1)
    model = Vilt(replace(SHAPE, most_patches=most))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def inputs(b: int = 3, t: int = 6, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (b, height, width, 3), dtype=torch.uint8, generator=g)
    return torch.randint(0, 20, (b, t), generator=g), pixels


@torch.no_grad()
def test_padding_and_the_others_of_a_batch_change_nothing() -> None:
    model = a_model()
    ids, pixels = inputs(height=12, width=16)
    sizes = [(12, 16), (4, 8), (8, 4)]
    mask = torch.arange(6) < torch.tensor([[6], [3], [1]])
    together = model(ids, pixels, mask, sizes)
    vectors = model.vector(ids, pixels, mask, sizes)
    for n, (h, w) in enumerate(sizes):
        length = int(mask[n].sum())
        alone = model(ids[n : n + 1, :length], pixels[n : n + 1, :h, :w])
        torch.testing.assert_close(together.text_btd[n, :length], alone.text_btd[0], atol=1e-5, rtol=1e-5)
        own = together.picture_bpd[n][together.mask_bp[n]]
        torch.testing.assert_close(own, alone.picture_bpd[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(vectors[n], model.pooled(alone)[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_row_without_a_picture_is_as_its_text_alone() -> None:
    model = a_model()
    ids, pixels = inputs()
    states = model(ids, pixels, sizes=[(8, 8), (0, 0), (4, 8)])
    alone = model(ids[1:2], None)
    torch.testing.assert_close(states.text_btd[1], alone.text_btd[0], atol=1e-5, rtol=1e-5)
    assert not states.mask_bp[1].any()
    assert states.states_bsd.isfinite().all()
    no_text = torch.ones_like(ids, dtype=torch.bool)
    no_text[0] = False
    states = model(ids, pixels, no_text)
    torch.testing.assert_close(states.picture_bpd[0], model(None, pixels[:1]).picture_bpd[0])


@torch.no_grad()
def test_recording_changes_nothing_and_positions_are_named() -> None:
    model = a_model()
    ids, pixels = inputs(height=8, width=12)
    before = model.vector(ids, pixels)
    with record(model) as seen:
        after = model.vector(ids, pixels)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    assert [name for name, _ in seen.weights] == [f"encoder.blocks.{n}.attention" for n in range(3)]
    places = model(ids, pixels).places(0)
    assert all(alpha.shape[-2:] == (len(places), len(places)) for _, alpha in seen.weights)
    assert [place.kind for place in places] == ["token"] * 6 + ["class"] + ["patch"] * 6
    assert places[-1].box == pytest.approx((2 / 3, 0.5, 1.0, 1.0))
    assert model(ids, None).places(0) == [Place("token", n) for n in range(6)]


@torch.no_grad()
def test_too_many_patches_are_left_out_evenly_or_by_chance() -> None:
    model = a_model(most=3)
    ids, pixels = inputs(height=8, width=12)
    states = model(ids, pixels)
    assert states.picture_bpd.shape[1] == 1 + 3
    assert [place.number for place in states.places(0)][-3:] == [
        model(ids, pixels).places(0)[-3:][n].number for n in range(3)
    ]
    chance = [model(ids, pixels, generator=torch.Generator().manual_seed(n)).kept for n in range(8)]
    assert len({tuple(kept[0].tolist()) for kept in chance}) > 1
    small = model(ids, pixels[:, :4])
    assert small.picture_bpd.shape[1] == 1 + 3  # all of them
    assert small.kept == (None, None, None)


def test_the_ranking_begins_from_the_match() -> None:
    torch.manual_seed(0)
    model = HeadedVilt(SHAPE, ViltHeadsConfig(matching=True, ranking=True))
    assert model.matching is not None
    model.start_ranking()
    pooled = torch.randn(4, SHAPE.width)
    torch.testing.assert_close(model.fit(pooled), model.matching(pooled)[:, 1])


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ([(8, 8)], "a size for each of 3 pictures, got 1"),
        ([(8, 8), (7, 8), (8, 8)], "multiples of 4 pixels"),
        ([(8, 8), (12, 8), (8, 8)], "at most 8 x 8, got 12 x 8"),
        ([(8, 8), (0, 8), (8, 8)], "got 0 x 8"),
    ],
)
def test_sizes_that_cannot_be(sizes: list[tuple[int, int]], named: str) -> None:
    ids, pixels = inputs()
    with pytest.raises(ValueError, match=named):
        a_model()(ids, pixels, sizes=sizes)


def test_what_cannot_be_is_refused() -> None:
    ids, pixels = inputs()
    with pytest.raises(ValueError, match="got neither"):
        a_model()(None, None)
    with pytest.raises(ValueError, match="type 1 to 2, got 3"):
        a_model()(ids, pixels, picture=3)
    with pytest.raises(ValueError, match="one width"):
        ViltConfig(vision=VISION, text=replace(TEXT, width=64))
    with pytest.raises(ValueError, match="at least 2 types"):
        replace(SHAPE, types=1)
    with pytest.raises(ValueError, match="class token"):
        ViltConfig(vision=replace(VISION, class_token=False, pooling="mean"), text=replace(TEXT, depth=0))


def test_it_learns_by_gradients_through_every_weight() -> None:
    model = a_model().train()
    ids, pixels = inputs()
    model.vector(ids, pixels).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
