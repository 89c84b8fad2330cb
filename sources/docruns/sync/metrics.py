"""What a load has done so far, and what its package has done: the figures of a row of `syncs`."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from ..core.errors import ApiError, MissingError
from ..net.messages import Usage

logger = logging.getLogger("docruns")

_USAGE_COLUMNS = ("requests", "retries", "throttled_s", "bytes")

NAMED = 5
"""Runs in quarantine that a load names; the table has them all."""


class Progress(Protocol):
    """Gets each step of a list: listing, listed, unordered, fetching; or why it is left out: unavailable, refused,
    failed. Of a copy: comparing, copying. Of a backfill: part, which it begins. Counts are of this load."""

    def __call__(self, stage: str, name: str, done: int, total: int | None) -> None: ...


@dataclass
class RunCounts:
    """Runs of a load. `gone`: listed, and their details answered 404."""

    listed: int = 0
    fetched: int = 0
    unchanged: int = 0
    quarantined: int = 0
    gone: int = 0


class Metrics:
    """Counts of a load, and rows by table; `usage` is what its client has used."""

    def __init__(self, usage: Usage, now: datetime, provider: str = "") -> None:
        self.counts, self.rows = RunCounts(), Counter[str]()
        self._provider = provider
        self._usage = usage
        self.start_package(now)

    def start_package(self, now: datetime) -> None:
        """Count from here on for the next package."""
        self.started = now
        self._before, self._rows_before = replace(self.counts), Counter(self.rows)
        self._used = replace(self._usage)

    def undo(self) -> None:
        """Undo what was counted in this package. Requests stay counted: they were sent."""
        self.counts, self.rows = replace(self._before), Counter(self._rows_before)

    def note_failed(self, resource: str, run_id: str, error: Exception, message: str) -> None:
        """Count a run that could not be loaded, and log the first few, with the redacted `message` of the error."""
        is_missing = isinstance(error, MissingError)
        self.counts.gone += is_missing
        self.counts.quarantined += not is_missing
        # other libraries quote the value that they refuse
        why = message if isinstance(error, ApiError) else type(error).__name__
        if self.counts.quarantined + self.counts.gone <= NAMED:
            about = {"provider": self._provider, "resource": resource, "run_id": run_id}
            logger.warning("%s %s is quarantined: %s", resource, run_id, why, extra=about)

    def package_rows(self) -> dict[str, int]:
        """The rows of this package, by table."""
        return dict(self.rows - self._rows_before)

    def package_row(self) -> dict[str, Any]:
        """What this package has done so far, by column of `syncs`."""
        counts, used = vars(self.counts), vars(self._usage)
        return {
            **{name: counts[name] - n for name, n in vars(self._before).items()},
            **{name: used[name] - vars(self._used)[name] for name in _USAGE_COLUMNS},
            "started_at": self.started,
        }
