"""What a database holds: runs, watermark, unfinished and quarantined ones, by dataset; and who is at work on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from ..core.errors import LockedError
from ..store.duckdb.file import open_database, quote
from ..store.failures import translate_errors
from ..store.target import LockHolder

_WAIT_S = 5.0


def reports(
    database: Path, at_work: Callable[[], Mapping[str, LockHolder]], wait_s: float = _WAIT_S
) -> list[dict[str, Any]]:
    """A report for each dataset. `at_work` tells who loads into it, by dataset; it is null where nobody does.

    While a load has the database open nobody else can read it: then `at_work` is all there is to tell.
    """
    busy = at_work()
    try:
        # a load lets go of the file when it ends, not before: no use in waiting for it
        patience = 0 if busy else wait_s
        with (
            translate_errors(database),
            open_database(database, read_only=True, wait_s=patience) as connection,
        ):
            found = [report(connection, dataset) for dataset in datasets(connection)]
    except LockedError:
        if not busy:
            raise
        return [{"dataset": name, "at_work": _told(who)} for name, who in sorted(busy.items())]
    busy = at_work()
    return [{**one, "at_work": _told(busy.get(one["dataset"]))} for one in found]


def _told(who: LockHolder | None) -> dict[str, Any] | None:
    return None if who is None else {name: getattr(who, name) for name in LockHolder._fields[:3]}


def datasets(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The datasets in a database that hold docruns' tables."""
    found = connection.execute(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'syncs' ORDER BY 1"
    ).fetchall()
    return [name for (name,) in found if not name.endswith("_staging")]


def report(
    connection: duckdb.DuckDBPyConnection, dataset: str, now: datetime | None = None
) -> dict[str, Any]:
    """One dataset as plain values; counts are of rows, ages are in seconds."""
    now = now or datetime.now(UTC)
    tables = {
        name
        for (name,) in connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = ?", [dataset]
        ).fetchall()
    }
    quoted = quote(dataset)

    def first(table: str, sql: str) -> tuple[Any, ...] | None:
        # a table exists from its first row on
        if table not in tables:
            return None
        return connection.execute(sql.format(table=f"{quoted}.{table}")).fetchone()

    runs = first(
        "workflow_runs",
        "SELECT count(*), count(*) FILTER (NOT is_final AND deleted_at IS NULL), "
        "count(*) FILTER (deleted_at IS NOT NULL), max(updated_at) FROM {table}",
    ) or (0, 0, 0, None)
    processors = first("processor_runs", "SELECT count(*) FROM {table}") or (0,)
    quarantined = first("quarantine", "SELECT count(*) FROM {table} WHERE resolved_at IS NULL") or (
        0,
    )
    sync = first(
        "syncs",
        "SELECT provider, watermark, finished_at, complete FROM {table} "
        "ORDER BY finished_at DESC LIMIT 1",
    ) or (None, None, None, None)
    newest = runs[3]
    torn = first(
        "workflow_runs",
        # what is gone from the platform stays as it is: nobody can read it again
        "SELECT count(DISTINCT _dlt_load_id) FROM {table} WHERE deleted_at IS NULL AND "
        f"_dlt_load_id NOT IN (SELECT load_id FROM {quoted}._dlt_loads)",
    ) or (0,)
    return {
        "dataset": dataset,
        "provider": sync[0],
        "workflow_runs": runs[0],
        "processor_runs": processors[0],
        "unfinished": runs[1],
        "deleted": runs[2],
        "quarantined": quarantined[0],
        "watermark": sync[1],
        "newest_run_age_s": None if newest is None else round((now - newest).total_seconds()),
        "last_load_at": sync[2],
        "complete": sync[3],
        "half_loaded_packages": torn[0],
    }
