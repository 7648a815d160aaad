"""EfficientNet-Lite: inverted bottlenecks (Sandler et al. 2018, fig. 3) scaled as in Tan & Le 2019."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.efficientnet.config import EfficientNetConfig
from chiasm.nn.pooling import MeanPool

LOWER = 5


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel of padding goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        total = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
        if any(total):
            top, left = total[0] // 2, total[1] // 2
            x = F.pad(x, (left, total[1] - left, top, total[0] - top))
        out: Tensor = self._conv_forward(x, self.weight, self.bias)
        return out


class InvertedBottleneck(nn.Module):
    """Expand by a 1x1 convolution, filter each channel, project back linearly."""

    def __init__(
        self, channels: int, out: int, *, kernel: int, stride: int, expansion: int, epsilon: float
    ) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand: nn.Conv2d | None = None
        if expansion != 1:
            self.expand = nn.Conv2d(channels, wide, 1, bias=False)
            self.expand_norm = nn.BatchNorm2d(wide, eps=epsilon)
        self.depthwise = SameConv(wide, wide, kernel, stride=stride, groups=wide, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(wide, eps=epsilon)
        self.project = nn.Conv2d(wide, out, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(out, eps=epsilon)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.expand is not None:
            y = F.relu6(self.expand_norm(self.expand(y)))
        y = F.relu6(self.depthwise_norm(self.depthwise(y)))
        out: Tensor = self.project_norm(self.project(y))
        return x + out if self.residual else out


class Features(NamedTuple):
    """What the trunk gives for pictures of side s.

    ``fine`` [b, 112, s/16, s/16] after the fifth stage, ``coarse`` [b, 320, s/32, s/32] after the last,
    ``pooled`` [b, 1280] non-negative: the input of the published classifier.
    """

    fine: Tensor
    coarse: Tensor
    pooled: Tensor


class EfficientNet(nn.Module):
    """The trunk and its ImageNet classifier."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.stem = SameConv(3, c.stem, 3, stride=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(c.stem, eps=c.epsilon)
        stages: list[nn.Sequential] = []
        channels = c.stem
        for stage in c.stages:
            blocks = []
            for i in range(stage.repeats):
                blocks.append(
                    InvertedBottleneck(
                        channels,
                        stage.channels,
                        kernel=stage.kernel,
                        stride=stage.stride if i == 0 else 1,
                        expansion=stage.expansion,
                        epsilon=c.epsilon,
                    )
                )
                channels = stage.channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.head = nn.Conv2d(channels, c.head, 1, bias=False)
        self.head_norm = nn.BatchNorm2d(c.head, eps=c.epsilon)
        self.mean = MeanPool()
        self.classifier: nn.Linear | None = nn.Linear(c.head, c.classes) if c.classes else None

    def features(self, x_bchw: Tensor) -> Features:
        """``x`` is (value - 127) / 128 of RGB bytes, ``[b, 3, s, s]``."""
        return self.upper(self.lower(x_bchw))

    def lower(self, x_bchw: Tensor) -> Tensor:
        """The first five of the seven stages: ``[b, 3, s, s]`` → the fine map ``[b, 112, s/16, s/16]``."""
        x = F.relu6(self.stem_norm(self.stem(x_bchw)))
        for stage in self.stages[:LOWER]:
            x = stage(x)
        return x

    def upper(self, fine: Tensor) -> Features:
        """The other two stages and the last convolution, over what :meth:`lower` gave."""
        x = fine
        for stage in self.stages[LOWER:]:
            x = stage(x)
        return Features(fine, x, self.pool(x))

    def pool(self, coarse: Tensor) -> Tensor:
        """The last convolution and the mean over positions: ``[b, 320, h, w]`` → ``[b, 1280]``."""
        maps = F.relu6(self.head_norm(self.head(coarse)))
        pooled: Tensor = self.mean(maps.flatten(2).transpose(1, 2))
        return pooled

    def forward(self, x_bchw: Tensor) -> Tensor:
        """ImageNet logits ``[b, 1000]``."""
        if self.classifier is None:
            raise ValueError("expected a config with classes > 0 to classify, got classes = 0")
        logits: Tensor = self.classifier(self.features(x_bchw).pooled)
        return logits
