"""Positions: interpolation in both conventions of corners, and the sinusoids of the paper."""

import math

import numpy as np
import pytest
import torch

from chiasm.nn.positions import interpolate_grid, sinusoids


def place(index: int, old: int, new: int, align_corners: bool) -> float:
    """Where sample ``index`` of ``new`` lies in the coordinates of ``old``."""
    if align_corners:
        return index * (old - 1) / (new - 1)
    return min(max((index + 0.5) * old / new - 0.5, 0.0), old - 1.0)


def bilinear(grid: np.ndarray, row: float, column: float) -> np.ndarray:
    top, left = int(row), int(column)
    below, right = min(top + 1, grid.shape[0] - 1), min(left + 1, grid.shape[1] - 1)
    down, along = row - top, column - left
    upper = grid[top, left] * (1 - along) + grid[top, right] * along
    lower = grid[below, left] * (1 - along) + grid[below, right] * along
    return upper * (1 - down) + lower * down


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("old", "new"), [((2, 3), (5, 4)), ((4, 4), (3, 6)), ((3, 5), (2, 2))])
def test_grids_are_resized_bilinearly(
    old: tuple[int, int], new: tuple[int, int], align_corners: bool
) -> None:
    grid = np.random.default_rng(0).standard_normal((*old, 3))
    positions = torch.from_numpy(grid.reshape(-1, 3))
    got = interpolate_grid(positions, old, new, align_corners=align_corners).reshape(*new, 3)
    for i, j in np.ndindex(*new):
        row, column = place(i, old[0], new[0], align_corners), place(j, old[1], new[1], align_corners)
        np.testing.assert_allclose(got[i, j], bilinear(grid, row, column), atol=1e-12)


def test_the_two_conventions_differ() -> None:
    positions = torch.arange(4.0).reshape(4, 1)
    aligned = interpolate_grid(positions, (1, 4), (1, 7), align_corners=True).flatten()
    assert torch.allclose(aligned, torch.arange(7) / 2)
    assert not torch.allclose(interpolate_grid(positions, (1, 4), (1, 7)).flatten(), aligned)


def test_the_same_grid_stays_as_it_is() -> None:
    positions = torch.randn(6, 3)
    assert interpolate_grid(positions, (2, 3), (2, 3)) is positions


def test_a_grid_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 6 positions .* got 7"):
        interpolate_grid(torch.zeros(7, 3), (2, 3), (4, 4))


def test_sinusoids_are_those_of_the_paper_with_sines_first() -> None:
    table = sinusoids(40, 8)
    assert table.shape == (40, 8)
    for position in range(40):
        for i in range(4):
            angle = position / 10_000 ** (2 * i / 8)
            assert table[position, i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 4 + i].item() == pytest.approx(math.cos(angle), abs=1e-5)
    with pytest.raises(ValueError, match="even width, got 7"):
        sinusoids(4, 7)
