"""The encoder of the paper's released weights: an AlexNet (Krizhevsky et al. 2012) of half the width, with
batch normalisation."""

from torch import Tensor, nn

CHANNELS = (48, 128, 192, 192, 128)
SHAPES = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
"""Kernel, stride and padding of each convolution."""
POOLED = (True, True, False, False, True)
SIDE = 6  # of the last map, for pictures of 224 pixels
HIDDEN = 2048


class HalfAlexNet(nn.Module):
    """``[b, channels, 224, 224]`` → ``[b, dim]``."""

    def __init__(self, channels: int, dim: int = 128) -> None:
        super().__init__()
        before = (channels, *CHANNELS)
        self.convolutions = nn.ModuleList(
            _block(before[n], before[n + 1], *SHAPES[n], pooled=POOLED[n]) for n in range(len(CHANNELS))
        )
        flat = CHANNELS[-1] * SIDE * SIDE
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU())
            for width in (flat, HIDDEN)
        )
        self.project = nn.Linear(HIDDEN, dim)

    def forward(self, x_bchw: Tensor) -> Tensor:
        for block in (*self.convolutions,):
            x_bchw = block(x_bchw)
        x_bd = x_bchw.flatten(1)
        for layer in self.hidden:
            x_bd = layer(x_bd)
        out: Tensor = self.project(x_bd)
        return out


def _block(before: int, after: int, kernel: int, stride: int, padding: int, *, pooled: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(before, after, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.MaxPool2d(3, 2)) if pooled else nn.Sequential(*layers)
