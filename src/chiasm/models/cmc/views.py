"""Views of pictures: lightness and colour, single channels, crops."""

import torch
from torch import Tensor

# CIE 1931 XYZ of linear sRGB (IEC 61966-2-1), and the white of D65 with 2 degrees
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)
_DARK = 0.008856  # (6 / 29)^3, below which the root becomes a line
MEAN = (50.0, 6.025, -6.6895)
"""Of L, a and b: the middle of what pictures in sRGB can have."""
STD = (50.0, 92.208, 101.1675)


def lab(pixels_bhwc: Tensor) -> Tensor:
    """CIE L*a*b* ``[b, 3, h, w]`` of sRGB uint8 ``[b, h, w, 3]``; L from 0 to 100."""
    rgb = pixels_bhwc.to(torch.float32) / 255
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ linear.new_tensor(_XYZ).T / linear.new_tensor(_WHITE)
    root = torch.where(xyz > _DARK, xyz.clamp(min=_DARK) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = root.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lightness_and_colour(pixels_bhwc: Tensor) -> dict[str, Tensor]:
    """The paper's two views, ``l`` ``[b, 1, h, w]`` and ``ab`` ``[b, 2, h, w]``, about -1 to 1."""
    found = lab(pixels_bhwc)
    mean, std = (found.new_tensor(three).view(1, 3, 1, 1) for three in (MEAN, STD))
    normed = (found - mean) / std
    return {"l": normed[:, :1], "ab": normed[:, 1:]}


def channels(x_bchw: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Each channel ``[b, 1, h, w]`` as a view.

    Raises:
        ValueError: not a name for each channel.
    """
    if len(names) != x_bchw.shape[1]:
        raise ValueError(f"expected {x_bchw.shape[1]} names, got {list(names)}")
    return {name: x_bchw[:, n : n + 1] for n, name in enumerate(names)}


def crops(
    x_bchw: Tensor, side: int, names: tuple[str, ...], generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """A random square ``[b, c, side, side]`` of each picture for each view.

    Raises:
        ValueError: pictures smaller than that.
    """
    b, _, h, w = x_bchw.shape
    if side > min(h, w):
        raise ValueError(f"expected pictures of at least {side} pixels, got {h} x {w}")
    found = {}
    for name in names:
        tops = torch.randint(h - side + 1, (b,), generator=generator).tolist()
        lefts = torch.randint(w - side + 1, (b,), generator=generator).tolist()
        cut = [
            x[:, top : top + side, left : left + side]
            for x, top, left in zip(x_bchw, tops, lefts, strict=True)
        ]
        found[name] = torch.stack(cut)
    return found
