"""int8 with a scale a row."""

import torch

from chiasm.nn.quantised import QuantisedEmbedding, dequantise, quantise


def test_a_row_comes_back_within_half_a_step() -> None:
    rows = (
        torch.randn(70, 80, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 2, 70)[:, None]
    )
    rows[3] = 0
    steps, scale = quantise(rows)
    assert steps.dtype is torch.int8
    error = (dequantise(steps, scale) - rows).abs()
    # Beyond half a step, 127 times what the scale was rounded by: 2^-11 of itself, or 2^-25 for tiny ones.
    assert (error <= scale.float()[:, None] * (0.5 + 127 / 2048) + 127 / 2**25).all()


def test_a_table_that_was_quantised_before_is_held_exactly() -> None:
    generator = torch.Generator().manual_seed(1)
    table = dequantise(*quantise(torch.randn(50, 64, generator=generator)))
    embedding = QuantisedEmbedding(table)
    ids = torch.tensor([[0, 49, 7], [7, 7, 1]])
    torch.testing.assert_close(embedding(ids), table[ids], rtol=0, atol=0)
    assert embedding(torch.empty(2, 0, dtype=torch.long)).shape == (2, 0, 64)
    held = sum(buffer.numel() * buffer.element_size() for buffer in embedding.buffers())
    assert held < table.numel() * table.element_size() / 3
    assert not list(embedding.parameters()), "there is nothing to train"
