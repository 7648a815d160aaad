"""Stems: shapes, order, and equality with cutting by hand."""

import pytest
import torch
import torch.nn.functional as F

from chiasm.nn.stems import MelStem, PatchStem, TokenStem, TubeletStem


def test_patches_come_row_by_row_and_equal_cutting_by_hand() -> None:
    stem = PatchStem(3, 4, 5).double()
    x = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    got = stem(x)
    assert got.shape == (2, 6, 5)
    weight, bias = stem.project.weight.flatten(1), stem.project.bias
    for row in range(2):
        for column in range(3):
            patch = x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten(1)
            assert torch.allclose(got[:, 3 * row + column], patch @ weight.T + bias)


@pytest.mark.parametrize("stride", [1, 2])
def test_tubelets_come_by_time_then_place_and_equal_cutting_by_hand(stride: int) -> None:
    stem = TubeletStem(2, 2, stride, 3, 5).double()
    x = torch.randn(2, 2, 6, 6, 9, dtype=torch.float64)
    got = stem(x)
    steps = (6 - 2) // stride + 1
    assert got.shape == (2, steps, 6, 5)
    weight, bias = stem.project.weight.flatten(1), stem.project.bias
    for t in range(steps):
        for row in range(2):
            for column in range(3):
                frames = x[:, :, stride * t : stride * t + 2]
                box = frames[:, :, :, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3].flatten(1)
                assert torch.allclose(got[:, t, 3 * row + column], box @ weight.T + bias)


@pytest.mark.parametrize(("stride", "frames", "steps"), [(2, 10, 5), (2, 11, 6), (1, 7, 7), (4, 9, 3)])
def test_mel_frames_are_convolved_and_thinned_out(stride: int, frames: int, steps: int) -> None:
    stem = MelStem(4, 6, stride).double()
    x = torch.randn(2, frames, 4, dtype=torch.float64)
    got = stem(x)
    assert got.shape == (2, steps, 6)
    padded = F.pad(x, (0, 0, 1, 1))
    first, second = stem.first, stem.second
    windows = torch.stack([padded[:, t : t + 3] for t in range(frames)], dim=1)
    hidden = F.gelu(torch.einsum("btkm,wmk->btw", windows, first.weight) + first.bias)
    hidden = F.pad(hidden, (0, 0, 1, 1))
    for step in range(steps):
        window = hidden[:, stride * step : stride * step + 3]
        expected = F.gelu(torch.einsum("bkm,wmk->bw", window, second.weight) + second.bias)
        assert torch.allclose(got[:, step], expected)


def test_tokens_are_looked_up_and_know_their_place() -> None:
    stem = TokenStem(10, 6, 4)
    ids = torch.tensor([[3, 3, 9], [0, 1, 2]])
    got = stem(ids)
    assert got.shape == (2, 3, 4)
    for b in range(2):
        for t in range(3):
            assert torch.equal(got[b, t], stem.token.weight[ids[b, t]] + stem.position.weight[t])
    with pytest.raises(IndexError):
        stem(torch.zeros(1, 7, dtype=torch.long))
