"""Short-lived cookies for what a page shows: ``<img>`` and ``<audio>`` cannot send a header.

A pass names a key and is signed with a secret of the data directory. It opens the content and the pictures
of files, for reading, as long as its key is open, and nothing else: a page elsewhere, a log or another
program on this host that gets hold of one has not got the key.
"""

from collections.abc import Callable
from hashlib import sha256

from flask import Response, request
from itsdangerous import BadSignature, TimestampSigner

SECONDS = 3600
PATH = "/v1/files"


class _Signer(TimestampSigner):
    def __init__(self, secret: bytes, clock: Callable[[], float]) -> None:
        super().__init__(secret, salt=b"chiasm.pass", digest_method=sha256, key_derivation="hmac")
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock())


class Passes:
    """Gives passes out and reads them.

    Args:
        secret: the same for all processes of the server.
        clock: seconds since the epoch.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float]) -> None:
        self._signer = _Signer(secret, clock)

    def give(self, response: Response, key_id: str) -> None:
        """Have the browser keep a pass for the holder of this key."""
        response.set_cookie(
            self.name(),
            self._signer.sign(key_id).decode("ascii"),
            max_age=SECONDS,
            path=PATH,
            httponly=True,
            samesite="Strict",
            secure=request.is_secure,
        )

    def take(self, response: Response) -> None:
        """Have the browser forget it."""
        response.delete_cookie(
            self.name(), path=PATH, httponly=True, samesite="Strict", secure=request.is_secure
        )

    def holder(self, value: str) -> str | None:
        """The key that a pass was given for; ``None`` if it is not ours or too old."""
        try:
            return self._signer.unsign(value, max_age=SECONDS).decode("ascii")
        except (BadSignature, UnicodeError):
            return None

    @staticmethod
    def name() -> str:
        """Of the cookie: browsers send cookies to every port of a host, so that each server has its own."""
        return f"chiasm_media_{request.environ.get('SERVER_PORT', '')}"
