"""What to load, and settings that are written as text: durations and moments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from .errors import ConfigError
from .payload import timestamp
from .privacy import KEEP, Privacy

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Settings:
    """What to load and in what portions. `chunk_runs` is details per dlt package, None: all in one.

    `recheck_for`: how long after their last change runs that are not final are looked for.
    """

    overlap: timedelta = timedelta(hours=1)
    recheck_for: timedelta = timedelta(days=30)
    chunk_runs: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    max_runs: int | None = None
    full: bool = False
    privacy: Privacy = KEEP


def duration(text: str | float, key: str) -> timedelta:
    """90s, 30m, 1h or 2d; a bare number is seconds. ConfigError names `key`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", str(text))
    if found is None:
        raise ConfigError(key, f"{text!r} is not a duration.", "Write 90s, 30m, 1h or 2d.")
    return timedelta(**{_UNITS[found[2] or "s"]: float(found[1])})


def moment(text: str | None, key: str) -> datetime | None:
    """A date or an RFC 3339 time as UTC. ConfigError names `key`."""
    if text is None:
        return None
    found = timestamp(str(text))
    if found is None:
        raise ConfigError(
            key, f"{text!r} is not a time.", "Write 2026-05-18 or 2026-05-18T06:30:00Z."
        )
    return found
