"""Conversion between milliseconds since 1970 and RFC 3339 text, and the clock of later changes."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

EPOCH_NOW: Final = 1_790_337_600_000  # 2026-09-25T12:00:00Z: the default "now" of the sandbox


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%dT")


def stamp(ms: int) -> str:
    """`1779085800000` -> `2026-05-18T06:30:00.000Z`."""
    day, rest = divmod(ms, DAY)
    hour, rest = divmod(rest, HOUR)
    minute, rest = divmod(rest, MINUTE)
    second, milli = divmod(rest, SECOND)
    return f"{_day(day)}{hour:02d}:{minute:02d}:{second:02d}.{milli:03d}Z"


def milliseconds(moment: datetime | str | int) -> int:
    """A datetime, RFC 3339 text or a number, as milliseconds since 1970 (naive datetimes are UTC)."""
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


class Clock:
    """The sandbox's own time: only calls advance it, so the same calls give the same timestamps."""

    __slots__ = ("now", "step")

    def __init__(self, now: int, step: int = 5_003) -> None:
        self.now = now
        self.step = step

    def tick(self) -> int:
        """A moment later than every earlier one."""
        self.now += self.step
        return self.now

    def advance(self, ms: int) -> int:
        """Advance the time by `ms`; the time never goes back."""
        self.now += max(ms, 0)
        return self.now
