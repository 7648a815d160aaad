"""chiasm: build, train, explain and serve multimodal models over text, image, audio and video.

    >>> import chiasm
    >>> model = chiasm.load()
    >>> model.embed(["a red apple", Path("a.jpg"), ["this one, but blue", Path("b.png")]])

Importing this package loads nothing heavy: each name brings its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chiasm import errors
    from chiasm.inference import Model, load
    from chiasm.language import LanguageModel, load_language
    from chiasm.modality import Audio, Image, Item, Modality, Text, Url, Video

__version__ = "0.1.0"

__all__ = [
    "Audio",
    "Image",
    "Item",
    "LanguageModel",
    "Modality",
    "Model",
    "Text",
    "Url",
    "Video",
    "__version__",
    "errors",
    "load",
    "load_language",
]

_HOMES = {
    "Model": "chiasm.inference",
    "load": "chiasm.inference",
    "LanguageModel": "chiasm.language",
    "load_language": "chiasm.language",
    **dict.fromkeys(("Audio", "Image", "Item", "Modality", "Text", "Url", "Video"), "chiasm.modality"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name == "errors":
        return import_module("chiasm.errors")
    raise AttributeError(f"module 'chiasm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
