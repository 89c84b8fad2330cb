"""What tests of loads share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from docruns.load import Summary
from docruns.sync import Sync

Loader = Callable[..., tuple[Summary, Sync]]
"""Loads a sandbox's runs into a DuckDB file; keywords go to the source."""


def query(database: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of a query on a database that nobody has open."""
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql, list(values)).fetchall()
