"""Whatever a person hands over → parts and items."""

from pathlib import Path

from PIL import Image as Pillow

from chiasm.errors import ChiasmError, InvalidInput, TooLarge
from chiasm.media.decode import checked_text, decode
from chiasm.media.fetch import fetch
from chiasm.media.image import image_of
from chiasm.modality import Audio, Image, Item, Part, Text, Url, Video
from chiasm.settings import Limits


def part_of(value: object, limits: Limits, *, min_side: int | None = None) -> Part:
    """One part.

    Args:
        value: ``str`` (always text, never a path or an address), ``Path``, ``bytes`` of a media file,
            ``PIL.Image``, ``Url``, or a part.
        limits: bounds on everything that is fetched or decoded.
        min_side: see ``decode``.

    Raises:
        InvalidInput: a value of another type.
        ChiasmError: whatever fetching and decoding raise; the message names the path.
    """
    try:
        return _part_of(value, limits, min_side)
    except ChiasmError as error:
        if isinstance(value, Path):
            error.about(str(value))
        raise


def _part_of(value: object, limits: Limits, min_side: int | None) -> Part:
    match value:
        case str():
            return checked_text(value, limits)
        case Text():
            return checked_text(value.text, limits)
        case Image() | Audio() | Video():
            return value
        case Path() | bytes():
            return decode(value, limits, min_side=min_side)
        case Url():
            return decode(fetch(value.address, limits), limits, min_side=min_side)
        case Pillow.Image():
            return image_of(value, limits)
    raise InvalidInput(
        f"expected str, Path, bytes, PIL.Image, Url, Text, Image, Audio or Video, got {type(value).__name__}",
        f"应为 str、Path、bytes、PIL.Image、Url、Text、Image、Audio 或 Video，实际为 {type(value).__name__}",
    )


def item_of_value(value: object, limits: Limits, *, min_side: int | None = None) -> Item:
    """What gets one vector: a value of :func:`part_of`, a list of them for a mixed item, or an item.

    Raises:
        ChiasmError: as :func:`part_of`; in a list, ``param`` names the position.
    """
    if isinstance(value, Item):
        return value
    if not isinstance(value, list | tuple):
        return Item((part_of(value, limits, min_side=min_side),))
    if len(value) > limits.parts:
        raise TooLarge(
            f"expected at most {limits.parts} parts, got {len(value)}",
            f"最多 {limits.parts} 个部分，实际为 {len(value)} 个",
        )
    parts = []
    for index, element in enumerate(value):
        try:
            parts.append(part_of(element, limits, min_side=min_side))
        except ChiasmError as error:
            raise error.at(f"content[{index}]") from None
    return Item(tuple(parts))
