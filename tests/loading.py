"""What tests of loads share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from docruns.load import Summary
from docruns.sync import Sync

Loader = Callable[..., tuple[Summary, Sync]]
"""Loads a sandbox's runs into a DuckDB file; keywords go to the source."""


def settled(count: Callable[[], int]) -> int:
    """A count of requests once it has stood still for half a second: what was asked for has been counted."""
    seen, since = count(), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.02)
        if (now := count()) != seen:
            seen, since = now, time.monotonic()
    return seen


def query(database: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of a query on a database that nobody has open."""
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql, list(values)).fetchall()
