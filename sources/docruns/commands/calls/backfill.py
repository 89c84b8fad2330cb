"""PURE. The window of a backfill, and its parts: `2024-01..2026-06`, by month."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ...core.errors import ConfigError
from ...core.settings import Part

_LENGTHS = {"year": 4, "month": 7, "day": 10}
"""The first characters of an ISO date that name a period."""
_PERIOD = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
_FIRST = "0001-01-01"


class Window(NamedTuple):
    """Which last changes a load loads, as RFC 3339, and in which parts; None is no bound."""

    since: str | None
    until: str | None
    parts: tuple[Part, ...] = ()


def make_window(backfill: str | None, by: str | None, since: str | None, until: str | None) -> Window:
    """The window of a load, of UTC. ConfigError where the options contradict each other or name no period."""
    if backfill is None:
        if by is not None:
            raise ConfigError("--by", "divides a backfill.", "Add --backfill, for example 2024-01..2026-06.")
        return Window(since, until)
    if since is not None or until is not None:
        raise ConfigError("--backfill", "is a window itself.", "Leave out --since and --until.")
    unit = by or "month"
    if unit not in _LENGTHS:
        raise ConfigError("--by", f"is {by!r}.", "Write day, month or year.")
    first, _, last = backfill.partition("..")
    try:
        begin, end = _begin(first), _end(_begin(last), len(last))
        parts = tuple(_parts(begin, end, _LENGTHS[unit]))
    except (ValueError, OverflowError):
        hint = "Write two years, months or days: 2024-01..2026-06 ends with the last day of June."
        raise ConfigError("--backfill", f"{backfill!r} is no range of time.", hint) from None
    if not parts:
        raise ConfigError("--backfill", f"{backfill} ends before it begins.")
    return Window(begin.isoformat(), end.isoformat(), parts)


def _begin(period: str) -> datetime:
    """The first moment of a year, a month or a day. ValueError where the text is none of them."""
    if _PERIOD.fullmatch(period) is None:
        raise ValueError(period)
    return datetime.fromisoformat(period + _FIRST[len(period) :]).replace(tzinfo=UTC)


def _end(at: datetime, length: int) -> datetime:
    """The end (exclusive) of the period of this moment."""
    if length == _LENGTHS["day"]:
        return at + timedelta(days=1)
    if length == _LENGTHS["month"]:
        return (at.replace(day=1) + timedelta(days=31)).replace(day=1)
    return at.replace(year=at.year + 1, month=1, day=1)


def _parts(begin: datetime, end: datetime, length: int) -> Iterator[Part]:
    while begin < end:
        until = min(_end(begin, length), end)
        yield Part(begin.date().isoformat()[:length], until)
        begin = until
