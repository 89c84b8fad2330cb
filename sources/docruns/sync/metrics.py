"""What a load has done so far, and since its package began: the figures of a row of `syncs`."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from ..net.messages import Usage

warned = logging.getLogger("docruns")

NAMED = 5
"""Runs in quarantine that a load names; the table has them all."""


class Progress(Protocol):
    """Told of what happens to a list: listing, listed, unavailable, refused, fetching; counts are of this load."""

    def __call__(self, stage: str, name: str, done: int, total: int | None) -> None: ...


@dataclass
class RunCounts:
    """Runs of a load."""

    listed: int = 0
    fetched: int = 0
    unchanged: int = 0
    quarantined: int = 0


class Metrics:
    """Counts of a load, and rows by table; `usage` is what its client has used."""

    def __init__(self, usage: Usage, now: datetime) -> None:
        self.counts, self.rows = RunCounts(), Counter[str]()
        self._usage = usage
        self.begin(now)

    def begin(self, now: datetime) -> None:
        """A package begins."""
        self.started = now
        self._before, self._rows_before = replace(self.counts), Counter(self.rows)
        self._used = replace(self._usage)

    def undo(self) -> None:
        """What was counted since then is undone; the requests were sent."""
        self.counts, self.rows = replace(self._before), Counter(self._rows_before)

    def quarantined(self, resource: str, run_id: str, why: str) -> None:
        """A run could not be loaded: it counts, and the first few are named."""
        self.counts.quarantined += 1
        if self.counts.quarantined <= NAMED:
            warned.warning("docruns: %s %s is quarantined: %s", resource, run_id, why)

    def since(self) -> dict[str, Any]:
        """What was done since then, by column of `syncs`."""
        now, before = self._usage, self._used
        return {
            **{name: n - vars(self._before)[name] for name, n in vars(self.counts).items()},
            "started_at": self.started,
            "requests": now.requests - before.requests,
            "retries": now.retries - before.retries,
            "throttled_s": now.throttled_s - before.throttled_s,
            "bytes": now.bytes - before.bytes,
        }
