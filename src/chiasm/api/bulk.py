"""Many items in one request, a line each: every line gets a result of its own, and time out is no failure.

A request answers within its deadline with what it has done and the line at which to go on. With ids of one's
own, sending a line again changes nothing.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chiasm.api.bodies import parse_json
from chiasm.api.errors import error_body
from chiasm.api.inputs import seconds_left
from chiasm.api.items import Draft, put, read_item
from chiasm.api.validation import expected
from chiasm.errors import ChiasmError, DeadlineExceeded, Overloaded, StoreError
from chiasm.library.items import Existing

AT_ONCE = 32  # lines that are embedded and committed together
RESERVE = 0.3  # of the deadline: a batch that was begun must end before it
LONGEST_PAUSE = 5.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the body, by its number from 1."""

    number: int
    data: bytes


class Bulk:
    """One bulk write.

    Args:
        store: where to.
        existing: what happens to items that are there.
    """

    def __init__(self, store: str, existing: Existing) -> None:
        self._store = store
        self._existing: Existing = existing
        self.results: list[dict[str, Any]] = []

    def run(self, lines: Iterator[Line], total_seconds: float) -> int | None:
        """Do as many lines as there is time for.

        Returns:
            The number of the first line that was not done; ``None`` if all were.

        Raises:
            StoreError: the first line cannot be kept, for want of room.
        """
        batch: list[tuple[Line, Draft]] = []
        for line in lines:
            if not batch and seconds_left() < RESERVE * total_seconds:
                return line.number
            try:
                draft = _read(line)
            except ChiasmError as error:
                self._failed(line, error)
                continue
            if draft.item.id is not None and any(d.item.id == draft.item.id for _, d in batch):
                # the later one of two with the same id has the last word, as in two requests
                if (stopped := self._finish(batch)) is not None:
                    return stopped
                batch = []
            batch.append((line, draft))
            if len(batch) == AT_ONCE:
                if (stopped := self._finish(batch)) is not None:
                    return stopped
                batch = []
        return self._finish(batch)

    def _finish(self, batch: Sequence[tuple[Line, Draft]]) -> int | None:
        """Keep these; the number of the first that could not be tried."""
        if not batch:
            return None
        try:
            self._put(batch)
        except ChiasmError:
            for line, draft in batch:
                if not self._alone(line, draft):
                    return line.number
        return None

    def _alone(self, line: Line, draft: Draft) -> bool:
        """One bad line fails alone; one that came at a bad time is tried again while there is time."""
        while True:
            try:
                self._put([(line, draft)])
            except Overloaded as error:
                if (error.retry_after or 0) > seconds_left():  # a budget of today, say
                    if not self.results:
                        raise
                    return False
                pause = min(error.retry_after or 0.5, LONGEST_PAUSE)
                if seconds_left() < 2 * pause:
                    return False
                time.sleep(pause)
                continue
            except (DeadlineExceeded, StoreError):
                if not self.results:
                    raise
                return False
            except ChiasmError as error:
                self._failed(line, error)
            return True

    def _put(self, batch: Sequence[tuple[Line, Draft]]) -> None:
        kept = put(self._store, [draft for _, draft in batch], self._existing)
        for (line, _), one in zip(batch, kept, strict=True):
            self.results.append({"line": line.number, "id": one.id, "status": one.status, "error": None})

    def _failed(self, line: Line, error: ChiasmError) -> None:
        self.results.append({"line": line.number, "id": None, "status": "failed", **error_body(error)})


def lines_of(body: bytes, first: int) -> Iterator[Line]:
    """The lines that are not blank, from number ``first`` on."""
    start, number = 0, 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        number += 1
        data = body[start:end].strip()
        if data and number >= first:
            yield Line(number=number, data=data)
        start = end + 1


def _read(line: Line) -> Draft:
    value = parse_json(line.data)
    if not isinstance(value, dict):
        raise expected("an object", "对象", value, "line")
    return read_item(value)
