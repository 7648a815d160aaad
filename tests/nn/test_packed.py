"""Packed layers give what they gave before, and the last block at one place what it gives at all."""

import pytest
import torch
import torch.nn.functional as F

from chiasm.models.vit.config import VitConfig
from chiasm.models.vit.model import Vit
from chiasm.nn.blocks import BlockConfig, Encoder
from chiasm.nn.packed import PackedLinear, pack
from chiasm.nn.recorder import record

ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu", "relu")


def encoder(**changes):
    torch.manual_seed(2)
    config = {"width": 64, "heads": 4, "hidden": 128, **changes}
    return Encoder(BlockConfig(**config), 2).eval().requires_grad_(False)


def packed_layers(model) -> int:
    return sum(isinstance(module, PackedLinear) for module in model.modules())


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_numbers_stay_and_so_do_the_weights_of_attention(norm, activation):
    model = encoder(norm=norm, activation=activation)
    x, mask = torch.randn(3, 9, 64), torch.arange(9) < torch.tensor([9, 4, 1])[:, None]
    before = model(x, mask)
    with record(model) as seen_before:
        model(x, mask)
    pack(model)
    assert packed_layers(model) == 2 * 7
    torch.testing.assert_close(model(x, mask), before, atol=1e-5, rtol=1e-5)
    with record(model) as seen:
        model(x, mask)
    for (name, now), (name_before, then) in zip(seen.weights, seen_before.weights, strict=True):
        assert name == name_before
        torch.testing.assert_close(now, then, atol=1e-5, rtol=1e-5)
    pack(model)
    assert packed_layers(model) == 2 * 7, "twice is once"


def test_layers_that_look_across_are_packed_too():
    model = encoder(context_width=80)
    x, context = torch.randn(2, 5, 64), torch.randn(2, 7, 80)
    before = model(x, None, context)
    pack(model)
    torch.testing.assert_close(model(x, None, context), before, atol=1e-5, rtol=1e-5)


def test_half_precision_keeps_its_direction():
    model = encoder(activation="quick_gelu")
    x = torch.randn(4, 9, 64)
    before = model(x)
    half = encoder(activation="quick_gelu").bfloat16()
    pack(half)
    cosine = F.cosine_similarity(half(x.bfloat16()).float(), before, dim=-1)
    assert float(cosine.min()) > 0.999


def test_other_precisions_and_small_layers_are_left_alone():
    for model in (encoder().double(), encoder(width=32, hidden=40)):
        pack(model)
        assert packed_layers(model) == 0


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_one_place_is_what_it_is_among_all(norm):
    model = encoder(norm=norm)
    x, mask = torch.randn(3, 9, 64), torch.arange(9) < torch.tensor([9, 4, 1])[:, None]
    places = torch.tensor([8, 2, 0])
    expected = model(x, mask)[torch.arange(3), places]
    torch.testing.assert_close(model.at(x, places, mask, last_mask=mask), expected, atol=1e-5, rtol=1e-5)
    with record(model) as seen:
        model.at(x, places, mask, last_mask=mask)
    assert [tuple(alpha.shape) for _, alpha in seen.weights] == [(3, 4, 9, 9)] * 2, "who looks sees all"


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("patch_bias", [True, False])
def test_pixels_are_normalised_by_the_patches_projection(kind, tolerance, patch_bias):
    torch.manual_seed(1)
    shape = VitConfig(
        side=32, patch=8, width=64, depth=1, heads=4, hidden=128, patch_bias=patch_bias,
        mean=(0.48, 0.45, 0.40), std=(0.26, 0.25, 0.27),
    )  # fmt: skip
    model = Vit(shape).eval().requires_grad_(False)
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    before = model.vector(pixels)
    model.to(kind).fold_pixels()
    model.fold_pixels()
    torch.testing.assert_close(model.vector(pixels).float(), before, atol=tolerance, rtol=tolerance)
