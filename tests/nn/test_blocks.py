"""Blocks: where the normalisation stands, what is looked at, and what padding may not change."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.nn.blocks import Activation, Block, BlockConfig, Encoder, FeedForward, activate


def a_block(norm: str, context_width: int | None = None) -> Block:
    torch.manual_seed(1)
    config = BlockConfig(width=8, heads=2, hidden=12, norm=norm, context_width=context_width)  # type: ignore[arg-type]
    block = Block(config).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    return block


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def standardised(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer normalisation (Ba et al. 2016, eq. 4), by hand."""
    centred = x - x.mean(dim=-1, keepdim=True)
    spread = (centred.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt()
    return centred / spread * norm.weight + norm.bias


def test_pre_norm_adds_sub_layers_of_the_normalised() -> None:
    block, x, context = a_block("pre", 6), normal(2, 3, 8), normal(2, 4, 6)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert block.cross is not None
    expected = x + block.attention(standardised(x, block.attention_norm), mask=mask)
    expected = expected + block.cross(standardised(expected, block.cross_norm), context)
    expected = expected + block.feed_forward(standardised(expected, block.feed_forward_norm))
    assert torch.allclose(block(x, mask, context), expected)


def test_post_norm_normalises_the_sums() -> None:
    block, x, context = a_block("post", 6), normal(2, 3, 8), normal(2, 4, 6)
    seen = torch.tensor([[True, True, True, False], [True, False, True, True]])
    assert block.cross is not None
    expected = standardised(x + block.attention(x), block.attention_norm)
    expected = standardised(expected + block.cross(expected, context, mask=seen), block.cross_norm)
    expected = standardised(expected + block.feed_forward(expected), block.feed_forward_norm)
    assert torch.allclose(block(x, None, context, seen), expected)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_what_is_padded_or_hidden_changes_nothing(norm: str) -> None:
    block, x, context = a_block(norm, 6), normal(1, 3, 8), normal(1, 4, 6)
    alone = block(x, None, context)
    padded = torch.cat([x, 50 * torch.ones(1, 2, 8, dtype=torch.float64)], dim=1)
    more = torch.cat([context, 50 * torch.ones(1, 1, 6, dtype=torch.float64)], dim=1)
    mask, seen = torch.arange(5)[None] < 3, torch.arange(5)[None] < 4
    assert torch.allclose(block(padded, mask, more, seen)[:, :3], alone)


def test_an_encoder_is_its_blocks_in_order() -> None:
    for norm in ("pre", "post"):
        encoder = Encoder(BlockConfig(width=8, heads=2, hidden=12, norm=norm), 3).double()  # type: ignore[arg-type]
        x = normal(2, 3, 8)
        expected = x
        for block in encoder.blocks:
            expected = block(expected)
        # A pre-norm stream is normalised at the end, a post-norm one already is.
        expected = F.layer_norm(expected, (8,), eps=1e-6) if norm == "pre" else expected
        assert torch.allclose(encoder(x), expected)


def test_feed_forward_works_position_by_position() -> None:
    layer, x = FeedForward(4, 6).double(), normal(2, 3, 4)
    together = layer(x)
    for t in range(3):
        assert torch.allclose(layer(x[:, t : t + 1]), together[:, t : t + 1])


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("gelu", lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2)))),
        (
            "gelu_tanh",
            lambda x: x * 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        ),
        ("quick_gelu", lambda x: x / (1 + math.exp(-1.702 * x))),
        ("relu", lambda x: max(x, 0.0)),
    ],
)
def test_activations_follow_their_formula(kind: Activation, formula: object) -> None:
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    expected = torch.tensor([formula(value) for value in x.tolist()], dtype=torch.float64)  # type: ignore[operator]
    assert torch.allclose(activate(x, kind), expected, atol=1e-12)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'swish'"):
        FeedForward(4, 6, "swish")(torch.zeros(1, 1, 4))  # type: ignore[arg-type]
