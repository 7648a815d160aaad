"""How much of a rate or a day's budget is left: pure arithmetic over (state, now)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Self

from chiasm.errors import RateLimited
from chiasm.stores.key_records import Amounts

DAY = 86_400  # seconds
MINUTE = 60.0
_ZH: Mapping[str, str] = {"text_tokens": "文本词元", "pixels": "像素", "media_seconds": "媒体秒数"}


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A token bucket as it was at ``at`` (seconds since the epoch): ``level`` requests may come at once."""

    level: float
    at: float

    @classmethod
    def full(cls, rate: float, now: float) -> Self:
        """As it is for a key that has not been used."""
        return cls(level=max(1.0, rate), at=now)

    def take(self, rate: float, now: float) -> "Bucket":
        """The bucket after one request.

        Args:
            rate: requests a minute; also what the bucket holds (at least one).
            now: seconds since the epoch; a clock that was set back fills nothing.

        Raises:
            RateLimited: it is empty; ``retry_after`` says for how long.
        """
        level = min(max(1.0, rate), self.level + max(0.0, now - self.at) * rate / MINUTE)
        if level < 1:
            seconds = (1 - level) * MINUTE / rate if rate > 0 else DAY
            raise RateLimited(
                f"expected at most {rate:g} requests a minute with this key, got more",
                f"此密钥每分钟最多 {rate:g} 个请求，实际更多",
                retry_after=seconds,
            )
        return Bucket(level=level - 1, at=now)


def day_of(now: float) -> int:
    """The day (UTC), counted from the epoch, that a budget is for."""
    return int(now // DAY)


def expect_budget(budgets: Mapping[str, float], used: Amounts, wanted: Amounts, now: float) -> None:
    """Before something is computed.

    Args:
        budgets: what may be used in a day, by the name of the amount.
        used: what has been used of it today.
        wanted: what the request needs.

    Raises:
        RateLimited: it would be more than the day's; until midnight (UTC).
    """
    for name, bound in budgets.items():
        before, more = getattr(used, name), getattr(wanted, name)
        if more > 0 and before + more > bound:
            raise RateLimited(
                f"expected at most {bound:g} {name} a day with this key, got {before:g} and {more:g} more",
                f"此密钥每天最多 {bound:g} {_ZH[name]}，已用 {before:g}，本次还需 {more:g}",
                code=f"{name}_budget_exceeded",
                retry_after=ceil((day_of(now) + 1) * DAY - now),
            )
