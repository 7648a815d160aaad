"""What stays the same when a picture is resized or recompressed, or a text retyped; compared bit by bit.

A picture's is the classical perceptual hash (the 8 x 8 lowest frequencies, above or below their median), then
the mean colours of 4 x 4 fields, since the hash knows no colours. A text's is a simhash (Charikar 2002) of
its trigrams.
"""

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from chiasm.modality import Image

PICTURE_BITS = TEXT_BITS = 64
_SIDE, _LOWEST, _FIELDS = 32, 8, 4
_TRIGRAM = 3


def picture_fingerprint(image: Image) -> str:
    """56 bytes in hexadecimal: 64 bits of structure, then 48 bytes of colour."""
    picture = Pillow.fromarray(image.pixels)
    grey = np.asarray(picture.convert("L").resize((_SIDE, _SIDE), Pillow.Resampling.BOX), np.float64)
    lowest = (_cosines() @ grey @ _cosines().T).ravel()
    structure = np.packbits(lowest > np.median(lowest[1:]))
    colours = np.asarray(picture.resize((_FIELDS, _FIELDS), Pillow.Resampling.BOX), np.uint8)
    return structure.tobytes().hex() + colours.tobytes().hex()


def text_fingerprint(text: str) -> str | None:
    """8 bytes in hexadecimal; ``None`` for a text without letters or digits."""
    words = "".join(c for c in text.casefold() if c.isalnum())
    if not words:
        return None
    pieces = {words[i : i + _TRIGRAM] for i in range(max(1, len(words) - _TRIGRAM + 1))}
    digests = b"".join(hashlib.blake2b(piece.encode(), digest_size=8).digest() for piece in pieces)
    bits = np.unpackbits(np.frombuffer(digests, np.uint8)).reshape(len(pieces), TEXT_BITS)
    return np.packbits(bits.mean(axis=0) > 0.5).tobytes().hex()


def bits_apart(first: bytes, second: bytes) -> int:
    """In how many of the first 64 bits two fingerprints differ."""
    return (int.from_bytes(first[:8], "big") ^ int.from_bytes(second[:8], "big")).bit_count()


def colours_apart(first: bytes, second: bytes) -> float:
    """Root mean square of the differences between two pictures' colours, 0 to 255."""
    left, right = (np.frombuffer(one[8:], np.uint8).astype(np.float64) for one in (first, second))
    return float(np.sqrt(np.mean((left - right) ** 2)))


@cache
def _cosines() -> NDArray[np.float64]:
    """The lowest rows of the discrete cosine transform, [8, 32]."""
    row, column = np.arange(_LOWEST)[:, None], np.arange(_SIDE)[None]
    waves: NDArray[np.float64] = np.cos(np.pi * row * (column + 0.5) / _SIDE)
    return waves
