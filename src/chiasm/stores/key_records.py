"""What a key is: its secret, its rights, and what it may use."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Self, get_args

from chiasm.errors import InvalidInput

Right = Literal["read", "write", "train", "admin"]
RIGHTS: tuple[Right, ...] = get_args(Right)
SECRET_BYTES = 32
MAX_NAME = 100  # characters
_TOKEN = re.compile(r"ck-([0-9a-f]{24})-([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What the model reads: tokens of text, pixels of pictures and frames, seconds of sound and video."""

    text_tokens: float = 0
    pixels: float = 0
    media_seconds: float = 0

    def __add__(self, other: Self) -> "Amounts":
        return Amounts(**{name: mine + getattr(other, name) for name, mine in self.items()})

    def __neg__(self) -> "Amounts":
        return Amounts(**{name: -mine for name, mine in self.items()})

    def __bool__(self) -> bool:
        return any(self.to_mapping().values())

    def items(self) -> list[tuple[str, float]]:
        """(name, amount), in order."""
        return list(self.to_mapping().items())

    def to_mapping(self) -> dict[str, float]:
        """By name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a key may use; ``None`` is without bound.

    Attributes:
        rate: requests a minute; as many may come at once after a minute's rest.
        text_tokens, pixels, media_seconds: a day (UTC); see :class:`Amounts`.
    """

    rate: float | None = None
    text_tokens: float | None = None
    pixels: float | None = None
    media_seconds: float | None = None

    def budgets(self) -> Mapping[str, float]:
        """The bounds of a day, by the name of the amount."""
        names = (f.name for f in fields(Amounts))
        return {name: bound for name in names if (bound := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """A key, without its secret. Times are seconds since the epoch."""

    id: str
    name: str
    rights: tuple[Right, ...]
    allowance: Allowance
    created_at: int
    expires_at: float | None = None
    revoked_at: int | None = None

    def is_valid(self, now: float) -> bool:
        """Whether it opens anything at this moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_token() -> tuple[str, str, bytes]:
    """A new key: (id, what its owner is given, what is kept).

    What is kept is a plain SHA-256: the secret is 256 random bits, so that nobody can try them all, and a
    slow or salted hash, which guards what people think up, would only cost every request its time.
    """
    number, secret = secrets.token_hex(12), secrets.token_urlsafe(SECRET_BYTES)
    return f"key_{number}", f"ck-{number}-{secret}", digest_of(secret)


def split_token(token: str) -> tuple[str, str] | None:
    """(id, secret) of what a caller shows; ``None`` if it cannot be one of our keys."""
    match = _TOKEN.fullmatch(token)
    return None if match is None else (f"key_{match[1]}", match[2])


def digest_of(secret: str) -> bytes:
    """What is kept of a secret (32 bytes)."""
    return hashlib.sha256(secret.encode()).digest()


def is_secret(secret: str, kept: bytes) -> bool:
    """Whether ``kept`` is of this secret; takes as long for a nearly right one as for any other."""
    return hmac.compare_digest(digest_of(secret), kept)


def checked_name(name: str) -> str:
    """The name that people give a key.

    Raises:
        InvalidInput: empty, too long, or of signs that cannot be printed.
    """
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidInput(
            f"expected a name of 1 to {MAX_NAME} printable characters, got {name[: MAX_NAME + 1]!r}",
            f"名称应为 1 至 {MAX_NAME} 个可打印字符，实际为 {name[: MAX_NAME + 1]!r}",
            param="name",
        )
    return name


def checked_rights(rights: tuple[str, ...]) -> tuple[Right, ...]:
    """The rights, in the order of :data:`RIGHTS`, each once.

    Raises:
        InvalidInput: none, or one that there is not.
    """
    unknown = [right for right in rights if right not in RIGHTS]
    if unknown or not rights:
        raise InvalidInput(
            f"expected rights among {', '.join(RIGHTS)}, got {', '.join(unknown) or 'none'}",
            f"权限应为 {'、'.join(RIGHTS)} 中的一项或几项，实际为 {'、'.join(unknown) or '空'}",
            param="rights",
        )
    return tuple(right for right in RIGHTS if right in rights)
