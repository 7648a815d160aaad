"""Server-sent events: a request asks once, then the gateway goes on asking for it.

A thread writes the head of the answer and its first events, and leaves a :class:`Follower` in the environ.
The gateway asks it for more, for as long as the reader stays; between two looks no thread is held. Where
there is no gateway, the answer ends after the first events: readers come back by themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

FOLLOWER = "chiasm.follower"  # in the environ: how the answer goes on
LOOK_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0  # proxies close what is silent for long, and a reader who left is noticed by it
LONGEST_SECONDS = 600.0  # then the reader comes again: other processes get their share
RETRY_MILLISECONDS = 2000
HEARTBEAT = b": still here\n\n"
HEAD = f"retry: {RETRY_MILLISECONDS}\n\n".encode()


class Look(NamedTuple):
    """What a look found: ``text`` for the reader, and whether that was all there will ever be."""

    text: bytes
    ended: bool


@dataclass(frozen=True, kw_only=True)
class Follower:
    """How the answer to one request goes on.

    Attributes:
        look: what is new; quick, called in a thread.
        close: called once, at the end.
    """

    look: Callable[[], Look]
    close: Callable[[], None]


def event(name: str, data: Any, identity: str) -> bytes:
    """One event; JSON has no line breaks of its own."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (identity.encode(), name.encode(), msgspec.json.encode(data))
