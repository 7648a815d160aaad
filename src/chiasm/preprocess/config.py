"""Every number that changes what a model sees. They live in the checkpoint, never in code.

Each class is a frozen record with ``to_dict`` and ``from_dict``; ``from_dict`` refuses unknown keys, so
that a checkpoint made by a newer version fails loudly instead of being misread.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, Literal, Self, TypeVar, cast, get_args, get_origin, get_type_hints

from chiasm.errors import CheckpointError

Fit = Literal["crop", "pad", "squash", "shortest", "bounded", "whole"]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A record that becomes JSON-able data and comes back from it."""

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts, lists, strings and numbers only."""
        return record_to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The record that ``data`` describes; absent keys take the defaults.

        Raises:
            CheckpointError: an unknown key, or a value of another type or out of range.
        """
        return record_from_dict(cls, data)


@dataclass(frozen=True, kw_only=True)
class TextPreprocess(Config):
    """How text becomes token ids.

    Attributes:
        max_tokens: with the special ones.
        words: the text itself goes along, for a model that comes with a tokenizer of its own.
    """

    max_tokens: int = 256
    words: bool = False

    def __post_init__(self) -> None:
        _within("TextPreprocess.max_tokens", self.max_tokens, 4, 1 << 20)


@dataclass(frozen=True, kw_only=True)
class ImagePreprocess(Config):
    """How a picture becomes ``side`` x ``side`` pixels, or with ``bounded`` and ``whole`` a rectangle.

    Attributes:
        side: pixels.
        fit: ``crop`` the middle square, ``pad`` with ``background`` to a square, ``squash`` to a square, or
            bring the ``shortest`` side to ``resize`` whole pixels and cut out the middle, as CLIP does.
            ``bounded``, as ViLT does: all of the picture, its shorter side ``side`` pixels or as many as keep
            the longer one within ``longest``, then both brought down to multiples of ``multiple``. ``whole``:
            as it is, made smaller if its longer side is more than ``longest``, for a model that comes with a
            preparation of its own.
        resize: pixels of the shorter side before the middle is cut out; 0 is ``side``.
        longest, multiple: pixels; the second with ``bounded``.
        trim: cut a border of one uniform colour away first (drawings, icons, scans; photographs have none).
        filter: resampling filter; always antialiased.
        background: RGB of the padding.
    """

    side: int = 192
    fit: Fit = "crop"
    trim: bool = True
    filter: Filter = "bicubic"
    background: tuple[int, int, int] = (255, 255, 255)
    resize: int = 0
    longest: int = 0
    multiple: int = 1

    def __post_init__(self) -> None:
        _within("ImagePreprocess.side", self.side, 8, 4096)
        _within("ImagePreprocess.multiple", self.multiple, 1, self.side)
        if self.longest or self.fit in ("bounded", "whole"):
            _within("ImagePreprocess.longest", self.longest, self.side, 8192)
        if self.resize:
            _within("ImagePreprocess.resize", self.resize, self.side, 8192)
        for channel in self.background:
            _within("ImagePreprocess.background", channel, 0, 255)


@dataclass(frozen=True, kw_only=True)
class AudioPreprocess(Config):
    """How sound becomes a log-mel spectrogram, or samples.

    Attributes:
        rate: samples per second after resampling.
        window, hop, fft: samples; frames are centred at multiples of ``hop``.
        mels: bands between ``fmin`` and ``fmax`` (Hz) on Slaney's scale, each of unit area.
        max_seconds: longer sound is cut; shorter than ``min_seconds`` is followed by silence.
        floor: added to the mel power before the natural logarithm; with ``decibels`` the least power, and ten
            times the logarithm to base 10.
        reflect: beyond both ends the sound goes on mirrored, not silent.
        repeat: sound shorter than ``min_seconds`` is repeated as often as all of it fits, then silent.
        waveform: samples in place of the spectrogram, for a model that makes its own of them, or none.
    """

    rate: int = 16_000
    window: int = 640
    hop: int = 200
    fft: int = 1024
    mels: int = 64
    fmin: float = 50.0
    fmax: float = 7800.0
    min_seconds: float = 0.5
    max_seconds: float = 10.0
    floor: float = 1e-6
    decibels: bool = False
    reflect: bool = False
    repeat: bool = False
    waveform: bool = False

    def __post_init__(self) -> None:
        _within("AudioPreprocess.rate", self.rate, 4000, 192_000)
        _within("AudioPreprocess.fft", self.fft, 16, 1 << 16)
        _within("AudioPreprocess.window", self.window, 2, self.fft)
        _within("AudioPreprocess.hop", self.hop, 1, self.window)
        _within("AudioPreprocess.mels", self.mels, 1, self.fft // 2)
        _within("AudioPreprocess.fmax", self.fmax, 1, self.rate / 2)
        _within("AudioPreprocess.fmin", self.fmin, 0, self.fmax)
        _within("AudioPreprocess.max_seconds", self.max_seconds, 0.05, 3600)
        _within("AudioPreprocess.min_seconds", self.min_seconds, 0.05, self.max_seconds)
        _within("AudioPreprocess.floor", self.floor, 1e-12, 1)


@dataclass(frozen=True, kw_only=True)
class VideoPreprocess(Config):
    """``frames`` evenly spaced frames stand for a clip; each is prepared as a picture.

    ``trim`` as for pictures. Off by default: a border that is cut away frame by frame takes the motion
    with it.
    """

    frames: int = 8
    trim: bool = False

    def __post_init__(self) -> None:
        _within("VideoPreprocess.frames", self.frames, 1, 1024)


@dataclass(frozen=True, kw_only=True)
class Costs(Config):
    """What the towers cost, in units of one picture through the image tower."""

    text_token: float = 0.01
    image: float = 1.0
    audio_second: float = 0.2
    video_frame: float = 1.0

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            _within(f"Costs.{f.name}", getattr(self, f.name), 0, 1e6)


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig(Config):
    """The whole of it."""

    text: TextPreprocess = field(default_factory=TextPreprocess)
    image: ImagePreprocess = field(default_factory=ImagePreprocess)
    audio: AudioPreprocess = field(default_factory=AudioPreprocess)
    video: VideoPreprocess = field(default_factory=VideoPreprocess)
    costs: Costs = field(default_factory=Costs)


def record_to_dict(record: Any) -> dict[str, Any]:
    """Any frozen record of numbers, words, tuples and records as nested dicts, lists, strings and numbers."""
    return {f.name: _plain(getattr(record, f.name)) for f in dataclasses.fields(record)}


def record_from_dict(cls: type[R], data: Mapping[str, Any]) -> R:
    """The record of this class that ``data`` describes; absent keys take the defaults.

    Raises:
        CheckpointError: an unknown or a missing key, or a value of another type.
    """
    if not isinstance(data, Mapping):
        raise refuse(cls.__name__, "a table", "一个表", data)
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cast(Any, cls))}
    for key in data:
        if key not in fields:
            raise refuse(f"{cls.__name__}.{key}", f"one of {sorted(fields)}", f"{sorted(fields)} 之一", key)
    for key, f in fields.items():
        if key not in data and f.default is MISSING and f.default_factory is MISSING:
            raise refuse(f"{cls.__name__}.{key}", "a value", "有值", None)
    return cls(**{key: _typed(f"{cls.__name__}.{key}", hints[key], value) for key, value in data.items()})


def refuse(name: str, wanted: str, wanted_zh: str, got: object) -> CheckpointError:
    """The error for a value in a checkpoint that cannot be used."""
    return CheckpointError(
        f"{name}: expected {wanted}, got {got!r}", f"{name}：应为{wanted_zh}，实际为 {got!r}", param=name
    )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return record_to_dict(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _typed(name: str, kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return record_from_dict(kind, value)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise refuse(name, f"one of {list(get_args(kind))}", f" {list(get_args(kind))} 之一", value)
        return value
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if not isinstance(value, list | tuple):
            raise refuse(name, "a list", "列表", value)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(value)
        if len(value) != len(kinds):
            raise refuse(name, f"{len(kinds)} values", f" {len(kinds)} 个值", value)
        return tuple(_typed(name, k, v) for k, v in zip(kinds, value, strict=True))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise refuse(name, kind.__name__, f" {kind.__name__}", value)
    return value


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise refuse(name, f"a number in [{low}, {high}]", f" [{low}, {high}] 内的数", value)
