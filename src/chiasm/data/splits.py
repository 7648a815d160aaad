"""Which concepts no training set of any modality may hold: decided by the name alone, so that every builder
agrees."""

from hashlib import blake2b

HELD_OUT_PARTS = 10
"""One concept in this many is held out."""


def held_out(name: str) -> bool:
    """Say whether a concept is kept from all training.

    Args:
        name: the concept's first English name; case and outer blanks do not matter.

    Returns:
        True for about one name in ten, the same on every machine and for ever.
    """
    digest = blake2b(name.strip().lower().encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_PARTS == 0
