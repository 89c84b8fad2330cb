"""What a destination other than a DuckDB file holds: the report of status.py, from rows that any destination gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ...core.codec import utc
from ...core.errors import ConfigError
from ...core.tables import BY_NAME, ROWS_VERSION
from ...store import lookup
from ...store.failures import translate_errors
from ...store.lookup import Pipeline
from ...store.pipeline import open_for_reading
from ...store.target import LockHolder, Target, lock_file, lock_holder
from .status import at_work_of


def reports_elsewhere(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """A report for each dataset that holds runs. The process at work is one of this machine. ConfigError for plain files:
    nothing says which rows of a run are the newest, so they cannot be counted.
    """
    for target in targets:
        if target.traits.is_log:
            reason = f"{target.destination} keeps plain files, which status cannot query."
            raise ConfigError("--destination", reason, "The summary of each load says what it has added.")
    return [found for target in targets for found in _reports(target)]


def _reports(target: Target) -> Iterator[dict[str, Any]]:
    busy: LockHolder | None = lock_holder(lock_file(target))
    # the platform has no part in it: the name is that of a working folder
    with translate_errors(target), open_for_reading("status", target) as running:
        packages = [
            dict(zip(_OF_PACKAGES, row, strict=True)) for row in _rows(running, "syncs", _OF_PACKAGES)
        ]
        if packages:
            yield {**_report(running, target, packages), "at_work": at_work_of(busy)}


_OF_PACKAGES = ("load_id", "provider", "watermark", "finished_at", "complete", "rows_version")
_OF_RUNS = ("is_final", "updated_at", "deleted_at", "_dlt_load_id")


def _report(running: Pipeline, target: Target, packages: list[dict[str, Any]]) -> dict[str, Any]:
    last = max(packages, key=lambda package: (package["finished_at"], package["load_id"]))
    first = min(
        (float(p["load_id"]) for p in packages if (p["rows_version"] or 0) >= ROWS_VERSION), default=None
    )
    ended = {load_id for (load_id,) in lookup.columns_of(running, "_dlt_loads", ("load_id",))}
    workflows = list(_rows(running, "workflow_runs", _OF_RUNS))
    processors = list(_rows(running, "processor_runs", _OF_RUNS[2:]))
    there = [row for row in workflows if row[2] is None]
    newest = max(filter(None, (utc(updated_at) for _, updated_at, *_ in workflows)), default=None)
    load_ids = [row[-1] for row in (*there, *(row for row in processors if row[0] is None))]
    return {
        "dataset": target.dataset,
        "provider": last["provider"],
        "workflow_runs": len(workflows),
        "processor_runs": len(processors),
        "unfinished": sum(is_final is not None and not is_final for is_final, *_ in there),
        "deleted": len(workflows) - len(there),
        "quarantined": sum(at is None for (at,) in _rows(running, "quarantine", ("resolved_at",))),
        "watermark": utc(last["watermark"]),
        "newest_run_age_s": None if newest is None else round((datetime.now(UTC) - newest).total_seconds()),
        "last_load_at": utc(last["finished_at"]),
        "complete": bool(last["complete"]),
        "half_loaded_packages": len({row[-1] for row in there} - ended),
        "older_rows": sum(first is None or float(load_id) < first for load_id in load_ids),
    }


def _rows(running: Pipeline, table: str, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Some columns of all rows; null for a column that an earlier version has not made."""
    there = [*lookup.columns_in(running, BY_NAME[table]), "_dlt_load_id"]
    wanted = [name for name in names if name in there]
    for row in lookup.columns_of(running, table, wanted):
        cells = dict(zip(wanted, row, strict=True))
        yield tuple(cells.get(name) for name in names)
