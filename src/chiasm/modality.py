"""The vocabulary of everything above: what a piece of content is once it has been decoded.

Arrays are numpy, never torch. An :class:`Item` is what gets one vector: one part, or several parts that
are fused into one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput


class Modality(StrEnum):
    """The four kinds of content, in the order in which every table of ours lists them."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text in any language."""

    text: str
    modality = Modality.TEXT


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An upright RGB picture: uint8 ``[height, width, 3]``."""

    pixels: NDArray[np.uint8]
    modality = Modality.IMAGE

    def __post_init__(self) -> None:
        _expect_rgb(self.pixels, "pixels", 3)


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono sound: float32 ``[n]`` in [-1, 1] at ``rate`` samples per second (8,000 to 192,000)."""

    samples: NDArray[np.float32]
    rate: int
    modality = Modality.AUDIO

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples)
        if samples.ndim != 1 or samples.size == 0:
            raise InvalidInput(
                f"expected mono samples of shape [n] with n > 0, got shape {list(samples.shape)}",
                f"应为形状 [n] 且 n > 0 的单声道采样，实际形状为 {list(samples.shape)}",
                param="samples",
            )
        if not np.issubdtype(samples.dtype, np.floating):
            raise InvalidInput(
                f"expected float samples in [-1, 1], got {samples.dtype}",
                f"采样应为 [-1, 1] 内的浮点数，实际类型为 {samples.dtype}",
                param="samples",
            )
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            samples = np.ascontiguousarray(samples, dtype=np.float32)
        if not np.isfinite(samples).all():
            raise InvalidInput(
                "expected finite samples, got NaN or infinity",
                "采样应为有限数，实际含有 NaN 或无穷大",
                param="samples",
            )
        if not _is_number(self.rate) or not 8_000 <= self.rate <= 192_000:
            raise InvalidInput(
                f"expected a rate of 8000 to 192000 Hz, got {self.rate!r}",
                f"采样率应为 8000 至 192000 Hz，实际为 {self.rate!r}",
                param="rate",
            )
        object.__setattr__(self, "samples", samples)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """A clip: RGB frames, uint8 ``[frames, height, width, 3]``, evenly spaced at ``fps`` frames per second,
    with its sound track if it has one."""

    frames: NDArray[np.uint8]
    fps: float
    sound: Audio | None = None
    modality = Modality.VIDEO

    def __post_init__(self) -> None:
        _expect_rgb(self.frames, "frames", 4)
        if not _is_number(self.fps) or not 0 < self.fps <= 1000:
            raise InvalidInput(
                f"expected fps in (0, 1000], got {self.fps!r}",
                f"帧率应在 (0, 1000] 内，实际为 {self.fps!r}",
                param="fps",
            )

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps


@dataclass(frozen=True, slots=True)
class Url:
    """An http(s) or data address whose content is to be fetched and decoded."""

    address: str

    def __post_init__(self) -> None:
        if not isinstance(self.address, str):
            raise InvalidInput(
                f"expected an address as a str, got {type(self.address).__name__}",
                f"地址应为 str，实际为 {type(self.address).__name__}",
                param="address",
            )


Part = Text | Image | Audio | Video


@dataclass(frozen=True, slots=True)
class Item:
    """What gets one vector: one part, or several of any modalities in order."""

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise InvalidInput(
                "expected at least one part, got an empty item", "一个条目至少要有一个部分，实际为空"
            )

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that are present."""
        return frozenset(part.modality for part in self.parts)


def item_of(*parts: Part) -> Item:
    """An item of these parts."""
    return Item(tuple(parts))


def key_of(modalities: Sequence[Modality] | frozenset[Modality]) -> str:
    """The name of a set of modalities: ``"image"`` for one, ``"mixed"`` for several."""
    distinct = set(modalities)
    return next(iter(distinct)).value if len(distinct) == 1 else "mixed"


def _expect_rgb(array: NDArray[Any], name: str, ndim: int) -> None:
    shape = "[h, w, 3]" if ndim == 3 else "[f, h, w, 3]"
    if array.dtype != np.uint8 or array.ndim != ndim or array.shape[-1] != 3 or 0 in array.shape:
        raise InvalidInput(
            f"expected uint8 of shape {shape}, none of them 0, got {array.dtype} {list(array.shape)}",
            f"应为形状 {shape}（各维均大于 0）的 uint8，实际为 {array.dtype} {list(array.shape)}",
            param=name,
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
