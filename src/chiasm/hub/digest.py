"""What tells files apart."""

import hashlib
from pathlib import Path


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex digits."""
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
