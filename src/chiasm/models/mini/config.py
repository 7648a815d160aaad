"""Shape of chiasm-mini."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, get_type_hints

from chiasm.errors import CheckpointError
from chiasm.models.bert.config import BertConfig
from chiasm.models.efficientnet.config import EfficientNetConfig, StageConfig
from chiasm.models.mini.audio import AudioEncoderConfig
from chiasm.models.mini.fusion import FusionConfig
from chiasm.models.mini.image import ImageHeadConfig
from chiasm.models.mini.video import MotionConfig


@dataclass(frozen=True, kw_only=True)
class MiniConfig:
    """The towers and the fusion. All meet in ``text.width`` dimensions."""

    text: BertConfig = field(default_factory=BertConfig)
    trunk: EfficientNetConfig = field(default_factory=lambda: EfficientNetConfig(classes=0))
    image: ImageHeadConfig = field(default_factory=ImageHeadConfig)
    audio: AudioEncoderConfig = field(default_factory=AudioEncoderConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        meet = {
            "image.dim": self.image.dim,
            "audio.dim": self.audio.dim,
            "motion.dim": self.motion.dim,
            "fusion.width": self.fusion.width,
        }
        wrong = {name: width for name, width in meet.items() if width != self.text.width}
        if wrong:
            raise ValueError(f"expected all towers to end in text.width = {self.text.width}, got {wrong}")

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON knows it."""
        data = dataclasses.asdict(self)
        data["trunk"]["stages"] = list(data["trunk"]["stages"])
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The config that :meth:`to_dict` described; what is left out has its default.

        Raises:
            CheckpointError: an unknown key, a value of another kind, or towers that do not meet.
        """
        try:
            return cls(**{name: _part(name, values) for name, values in data.items()})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"expected a chiasm-mini config with {sorted(_PARTS)}, got: {error}",
                f"应为含 {sorted(_PARTS)} 的 chiasm-mini 配置，实际有误：{error}",
                param="config.json",
            ) from error


_PARTS: dict[str, Any] = get_type_hints(MiniConfig)


def _part(name: str, values: Mapping[str, Any]) -> Any:
    kind = _PARTS[name]
    given = dict(values)
    if kind is EfficientNetConfig:
        # A trunk without a word about classes is the default one, which does not classify.
        given.setdefault("classes", 0)
        if "stages" in given:
            given["stages"] = tuple(StageConfig(**stage) for stage in given["stages"])
    part = kind(**given)
    for key, default in dataclasses.asdict(kind()).items():
        value = getattr(part, key)
        if type(value) is not type(default) and not (type(default) is float and type(value) is int):
            raise TypeError(f"{name}.{key} = {value!r}, expected {type(default).__name__}")
    return part
