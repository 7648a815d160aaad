"""Pages of search results: where the next one begins, and of which search."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import msgspec

from chiasm.api.schemas.stores import SearchBody
from chiasm.api.validation import expected
from chiasm.preprocess import PreparedItem

_TOKEN = re.compile(r"(\d{1,6})\.([0-9a-f]{32})")
# What may differ from one page of a search to the next.
_FREE = {"page", "max_num_results", "user", "safety_identifier", "metadata"}


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place in the results of one search.

    Attributes:
        offset: hits before it.
        search: a digest of what is searched for, and where.
    """

    offset: int
    search: str

    @classmethod
    def of(cls, token: str | None, store: str, body: SearchBody, items: Sequence[PreparedItem] = ()) -> Self:
        """Where the token leads; without one, the beginning.

        Raises:
            InvalidInput: it is of another search, or none at all.
        """
        asked = msgspec.json.encode([store, body.model_dump(exclude=_FREE)], order="sorted")
        digest = hashlib.sha256(asked)
        for item in items:
            digest.update(item.key())
        search = digest.hexdigest()[:32]
        if token is None:
            return cls(offset=0, search=search)
        match = _TOKEN.fullmatch(token)
        if match is None or match[2] != search:
            raise expected(
                "next_page of the same search in the same store",
                "同一库中同一次搜索返回的 next_page",
                token,
                "page",
                code="invalid_cursor",
            )
        return cls(offset=int(match[1]), search=search)

    def next(self, more: bool, count: int) -> str | None:
        """The token of the page after these ``count`` hits, if there are more."""
        return f"{self.offset + count}.{self.search}" if more else None
