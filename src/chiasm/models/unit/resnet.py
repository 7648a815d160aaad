"""ResNet (He et al. 2016) with frozen normalisation, as the pictures' first reader in DETR and UniT."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.unit.config import ResNetConfig


class FrozenConv(nn.Module):
    """A convolution and the frozen batch normalisation behind it: a scale and a shift of each channel.

    These constants are buffers, so that they are saved but never trained (Carion et al. 2020, appendix A.4).
    """

    scale_c: Tensor
    shift_c: Tensor

    def __init__(self, channels: int, out: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        # pixels come with channels last; kernels in the same order need no copy at every call
        kernels = torch.empty(out, channels, kernel, kernel).to(memory_format=torch.channels_last)
        self.weight = nn.Parameter(kernels)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        self.register_buffer("scale_c", torch.ones(out))
        self.register_buffer("shift_c", torch.zeros(out))
        self.stride, self.dilation = stride, dilation
        self.padding = dilation * (kernel // 2)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """``[b, channels, h, w]`` → ``[b, out, h/stride, w/stride]``, rounded up."""
        scale, where = self.scale_c[:, None, None], (self.stride, self.padding, self.dilation)
        b, _, height, width = x_bchw.shape
        if b * height * width > self.stride**2 * self.weight[0].numel():  # kernels are fewer than results
            return F.conv2d(x_bchw, self.weight * scale[..., None], self.shift_c, *where)
        y_bchw = F.conv2d(x_bchw, self.weight, None, *where)
        return torch.addcmul(self.shift_c[:, None, None], y_bchw, scale)


class Bottleneck(nn.Module):
    """Fewer channels, a 3x3 convolution that has the stride, all channels again, and the residual."""

    def __init__(
        self, channels: int, out: int, *, squeeze: int, stride: int, dilation: int, shortcut: bool
    ) -> None:
        super().__init__()
        inner = out // squeeze
        self.first = FrozenConv(channels, inner, 1)
        self.second = FrozenConv(inner, inner, 3, stride=stride, dilation=dilation)
        self.third = FrozenConv(inner, out, 1)
        self.shortcut = FrozenConv(channels, out, 1, stride=stride) if shortcut else None

    def forward(self, x_bchw: Tensor) -> Tensor:
        """``[b, channels, h, w]`` → ``[b, out, h/stride, w/stride]``, rounded up."""
        inner = F.relu(self.first(x_bchw), inplace=True)
        inner = F.relu(self.second(inner), inplace=True)
        residual = x_bchw if self.shortcut is None else self.shortcut(x_bchw)
        return F.relu(self.third(inner).add_(residual), inplace=True)


class ResNet(nn.Module):
    """The convolutions, without the classifier."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.stem = FrozenConv(3, c.stem, 7, stride=2)
        channels, stages = c.stem, []
        for n, (depth, width) in enumerate(zip(c.depths, c.widths, strict=True)):
            spread = c.dilated and n == len(c.depths) - 1
            stride = 1 if n == 0 or spread else 2
            blocks = []
            for i in range(depth):
                blocks.append(
                    Bottleneck(
                        channels,
                        width,
                        squeeze=c.squeeze,
                        stride=stride if i == 0 else 1,
                        # what comes into a dilated stage is not yet spread
                        dilation=2 if spread and i else 1,
                        shortcut=i == 0 and (stride > 1 or channels != width),
                    )
                )
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        for part in [self.stem, *stages][: c.frozen]:
            part.requires_grad_(False)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Normalised RGB ``[b, 3, h, w]`` → ``[b, widths[-1], h/stride, w/stride]``, rounded up."""
        x_bchw = F.relu(self.stem(x_bchw), inplace=True)
        x_bchw = F.max_pool2d(x_bchw, 3, stride=2, padding=1)
        for stage in self.stages:
            x_bchw = stage(x_bchw)
        return x_bchw
