"""Shape of an EfficientNet-Lite."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage: ``repeats`` inverted bottlenecks of which the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig:
    """EfficientNet-Lite0 (Tan & Le 2019, table 1, the column of B0).

    "Lite" drops squeeze-and-excitation and uses ReLU6.
    """

    stem: int = 32
    stages: tuple[StageConfig, ...] = (
        StageConfig(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
        StageConfig(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
        StageConfig(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
        StageConfig(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
        StageConfig(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
        StageConfig(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
        StageConfig(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
    )
    head: int = 1280
    classes: int = 1000
    epsilon: float = 1e-3
