"""PURE. The settings of a load, and how to read and check durations, times, keys and URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from .codec import timestamp
from .errors import ConfigError
from .privacy import KEEP, Privacy

DATABASE = "docruns.duckdb"
"""The default DuckDB file, in the working directory."""

DESTINATION = "duckdb"
"""The default dlt destination."""

CHUNK_RUNS = 1000
"""Runs per load package unless `chunk_runs` is set. A kill costs at most these and those ahead."""

CONFIRM = 1000
"""The default limit of a sweep's requests for single runs."""

_PRINTABLE = re.compile(r"[!-~]+")
LONGEST = timedelta(days=36_500)
"""Longer durations are cut to 100 years: no run is older, and dates end at year 1."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Part(NamedTuple):
    """A part of a load, by its name: of the runs that are due, those that changed before `until`, and in no earlier
    part."""

    name: str
    until: datetime


@dataclass(frozen=True)
class Settings:
    """What to load. `chunk_runs` is the number of run details in a dlt package; None: all in one.

    `recheck_for`: how long after its last change a run that is not final is looked up again. `replica_lag`: how
    much older than the lists an answer may be. `parts`: what to load first, and next, and so on, oldest first; each part
    has packages of its own.
    """

    overlap: timedelta = timedelta(hours=1)
    recheck_for: timedelta = timedelta(days=30)
    replica_lag: timedelta = timedelta(minutes=2)
    chunk_runs: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    parts: tuple[Part, ...] = ()
    max_runs: int | None = None
    full: bool = False
    privacy: Privacy = KEEP
    origin: Mapping[str, str | None] = field(default_factory=dict)
    """Whose runs, and which of them, the lists show: names of settings and their effect. A dataset holds the runs of
    one origin."""
    content: Mapping[str, object] = field(default_factory=dict)
    """Names and values of settings that decide what the rows of a run hold."""


def duration(text: str | float, key: str) -> timedelta:
    """90s, 30m, 1h or 2d; a bare number is seconds. ConfigError names `key`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", str(text))
    if found is None:
        raise ConfigError(key, f"{text!r} is not a duration.", "Write 90s, 30m, 1h or 2d.")
    try:
        return min(timedelta(**{_UNITS[found[2] or "s"]: float(found[1])}), LONGEST)
    except OverflowError:
        return LONGEST


def moment(text: str | None, key: str) -> datetime | None:
    """A date or an RFC 3339 time as UTC. ConfigError names `key`."""
    if text is None:
        return None
    found = timestamp(str(text))
    if found is None:
        raise ConfigError(key, f"{text!r} is not a time.", "Write 2026-05-18 or 2026-05-18T06:30:00Z.")
    return found


def check_key(key: str, name: str) -> str:
    """The key without surrounding white space and quotes; ConfigError where no header can carry it."""
    key = key.strip()
    if key[:1] in ("'", '"') and key[-1:] == key[:1]:
        # a shell removes them, and a file of variables for containers does not
        key = key[1:-1].strip()
    if not _PRINTABLE.fullmatch(key):
        raise ConfigError(name, "is empty or holds white space or other unprintable characters.")
    return key


def is_loopback(url: str) -> bool:
    """The URL points to this machine, where plain http puts no key at risk."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        # a name, whatever it begins with
        return False


def platform_of(url: str) -> str:
    """The host of a URL; `this machine` for all of this machine's names and ports."""
    return "this machine" if is_loopback(url) else urlsplit(url).hostname or url


def check_base_url(url: str, name: str) -> str:
    """The URL without a final slash; ConfigError where a key must not be sent to it."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise ConfigError(name, f"is not an http(s) URL: {url!r}.") from None
    if parts.scheme == "http" and not is_loopback(url):
        raise ConfigError(name, f"would send the key unencrypted to {parts.hostname}; use https.")
    if parts.query or parts.fragment or parts.username:
        raise ConfigError(name, "must be a plain URL, without user, query or fragment.")
    return url.rstrip("/")
