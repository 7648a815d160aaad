"""Who waits for a thread, for how long, and who is told at once that there is no room."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from hashlib import sha256

REMEMBERED = 4096  # keys


class WaitingRoom:
    """So many seats, and so many places to wait for one. Belongs to one event loop.

    Callers take turns, whatever each has waiting. A caller may wait in as many places as it leaves free
    (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998, with
    α = 1): alone it gets half of them, and who comes next always finds some. Nobody is turned out again, so
    that a refusal costs its caller no time.

    Args:
        seats: requests that are worked on at a time.
        places: requests that may wait.
    """

    def __init__(self, seats: int, places: int) -> None:
        self._free = seats
        self._places = places
        self._waiting = 0
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}  # none is empty; the next caller first

    def has_room(self, caller: str) -> bool:
        """Whether a request of this caller would be let in now."""
        taken = len(self._queues.get(caller, ()))
        return self._free > 0 or taken < self._places - self._waiting

    async def enter(self, caller: str, patience: float) -> bool:
        """Whether a seat was found, within ``patience`` seconds; :meth:`leave` gives it back."""
        if not self.has_room(caller):
            return False
        if self._free > 0:
            self._free -= 1
            return True
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(caller, deque()).append(turn)
        self._waiting += 1
        try:
            await asyncio.wait({turn}, timeout=patience)
        except asyncio.CancelledError:
            if not self._withdraw(caller, turn):
                self.leave()
            raise
        return not self._withdraw(caller, turn)

    def leave(self) -> None:
        """Give a seat to the next in turn."""
        if not self._queues:
            self._free += 1
            return
        caller = next(iter(self._queues))
        queue = self._queues.pop(caller)
        turn = queue.popleft()
        if queue:
            self._queues[caller] = queue  # behind all others
        self._waiting -= 1
        turn.set_result(None)

    def _withdraw(self, caller: str, turn: asyncio.Future[None]) -> bool:
        """Whether this request still waited; it then waits no more."""
        if turn.done():
            return False
        self._queues[caller].remove(turn)
        if not self._queues[caller]:
            del self._queues[caller]
        self._waiting -= 1
        return True


class Callers:
    """Whose request it is, by what was learned of earlier ones: to look keys up takes a thread and a query.

    Whoever has not been let in before shares one queue with all such, so that making keys up gains nothing.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, str] = OrderedDict()  # ids of keys by digest, the latest last

    def of(self, headers: Mapping[str, str]) -> str:
        """The id of the key that is shown; empty if it is not known.

        Args:
            headers: by their names in lower case.
        """
        return self._known.get(_digest(headers), "")

    def learn(self, headers: Mapping[str, str], key_id: str | None) -> None:
        """What the application found; ``None`` if it found no key."""
        digest = _digest(headers)
        if key_id is None:
            self._known.pop(digest, None)
            return
        self._known[digest] = key_id
        self._known.move_to_end(digest)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _digest(headers: Mapping[str, str]) -> bytes:
    return sha256(headers.get("authorization", "").encode("utf-8", "surrogateescape")).digest()
