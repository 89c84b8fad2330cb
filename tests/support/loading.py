"""Helpers for tests of loads."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from docruns.commands.load import Summary
from docruns.providers.extend import connect_extend
from docruns.providers.plextera import connect_plextera
from docruns.sandbox import Corpus, Sandbox
from docruns.sync.lists import Platform

Loader = Callable[..., tuple[Summary, Platform]]
"""A function that loads a sandbox's runs into a DuckDB file; keywords go to the source."""

FEW_LISTED = Corpus(listed=1)
"""An organisation with one workflow, one processor of each type and one evaluation set: a third of the work of a first
load of few runs. For tests of other things than these lists."""


def settled(count: Callable[[], int]) -> int:
    """A count of requests after it has not changed for half a second: every request has been counted."""
    seen, since = count(), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.02)
        if (now := count()) != seen:
            seen, since = now, time.monotonic()
    return seen


def connect(sandbox: Sandbox, provider: str, **options: Any) -> Platform:
    """A provider's platform, served by the sandbox; keywords are settings."""
    if provider == "extend":
        return connect_extend(**{"base_url": sandbox.extend_url, **options})
    return connect_plextera(**{"base_url": sandbox.plextera_url, **options})


def query(database: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of a query on a database that no other process has open."""
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql, list(values)).fetchall()


STATE = " UNION ALL ".join(
    f"SELECT '{table}', count(*), bit_xor(hash(t::VARCHAR))::VARCHAR "
    f"FROM (SELECT * EXCLUDE (_dlt_load_id) FROM extend.{table}) t"
    for table in ("workflow_runs", "processor_runs", "fields", "citations")
)


def state(database: Path) -> list[tuple[object, ...]]:
    """The state the next load starts from: dlt reads the state of packages recorded as loaded."""
    sql = (
        "SELECT load_id, state FROM extend._dlt_loads "
        "LEFT JOIN extend._dlt_pipeline_state ON _dlt_load_id = load_id ORDER BY load_id"
    )
    return query(database, sql)
