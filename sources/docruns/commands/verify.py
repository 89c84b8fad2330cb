"""Does the database agree with the platform? By id and last change for all runs, cell by cell for a sample.

    lists ─────────────┐
                       ├──► missing, stale, gone, returned, quarantined
    ids in the database┘
    N runs, loaded anew into a database of their own ──► every row beside the row that is there

The lists cost a request per page, the sample one per run. The sample goes through the very sources, readers and
merges of a load, into a temporary file, so a difference is one of data, not of two ways to read them.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..core.codec import utc
from ..core.flatten.values import NUL_SPELLED
from ..core.parsed import ParentStep
from ..core.privacy import storage_mode_error
from ..core.tables import BY_NAME, PROCESSOR_RUNS, SYNCS, TABLES, WORKFLOW_RUNS, Column, Table
from ..store import destinations, lookup
from ..store.environment import private_files
from ..store.failures import translate_errors
from ..store.lookup import Pipeline
from ..store.pipeline import open_for_reading
from ..store.target import Target, require_database
from ..sync.inventory import InventoryRun, ListInventory, stored_runs
from ..sync.sync import Sync
from .load import MakeSource, load_runs

SHOWN = 20
"""Differences of a kind that are named; all are counted."""

SAYS = {
    "missing": "runs are listed and not in the database",
    "stale": "runs have changed since they were loaded",
    "gone": "runs are in the database and in no list (`docruns sweep` marks deleted ones)",
    "returned": "runs are marked as deleted and listed again",
    "cells": "rows or cells differ",
}
"""The differences, for people."""

_NOT_COMPARED = {"deleted_at", "_cleared"}
_FROM_LISTS = ("created_at", "updated_at")
_RUN_LISTS = ("workflow_runs", "processor_runs")


class Difference(NamedTuple):
    """A cell or a row that differs. `column` is None where a whole row is missing on one side."""

    table: str
    key: tuple[Any, ...]
    column: str | None
    database: Any
    platform: Any

    def __str__(self) -> str:
        where = f"{self.table} {' '.join(map(str, self.key))}"
        if self.column is None:
            return f"{where}: only in the {'database' if self.platform is None else 'platform'}"
        return f"{where} {self.column}: database {_short(self.database)}, platform {_short(self.platform)}"


@dataclass
class Verified:
    """What differs, by kind: ids as `list/id`, cells as `Difference`.

    `missing`: listed and not loaded. `stale`: listed with a later change. `gone`: loaded and in no list.
    `returned`: marked as deleted and listed. `cells`: of the sample. `quarantined` are missing or stale for a
    reason that is known, and no difference. `undated` runs have no date to compare.
    """

    provider: str
    listed: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    cells: list[Difference] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    undated: int = 0
    sampled: int = 0
    rows_compared: int = 0
    requests: int = 0

    @property
    def kinds(self) -> dict[str, Sequence[Any]]:
        """The differences."""
        return {
            "missing": self.missing,
            "stale": self.stale,
            "gone": self.gone,
            "returned": self.returned,
            "cells": self.cells,
        }

    @property
    def differs(self) -> bool:
        """Anything but what is in quarantine."""
        return any(self.kinds.values())

    def as_dict(self) -> dict[str, Any]:
        """As JSON values: the count of each kind, and the first of them."""
        return {
            "provider": self.provider,
            "equal": not self.differs,
            "listed": self.listed,
            **{name: len(found) for name, found in self.kinds.items()},
            "quarantined": len(self.quarantined),
            "undated": self.undated,
            "sampled": self.sampled,
            "rows_compared": self.rows_compared,
            "requests": self.requests,
            "first": {
                name: [str(one) for one in found[:SHOWN]]
                for name, found in self.kinds.items()
                if found
            },
        }


@private_files()
def verify_runs(
    make_source: MakeSource,
    target: Target,
    *,
    deep: int = 0,
    seed: int | None = None,
    on_sync: Callable[[Sync], None] = lambda _: None,
    on_wait: Callable[[str], None] | None = None,
) -> Verified:
    """Compare a target with its platform, and `deep` runs of it cell by cell; the same `seed`, the same runs.

    Changes nothing. What changes on the platform after the load is a difference: verify right after it.
    """
    require_database(target)
    syncs: list[Sync] = []
    make_source(syncs.append)
    sync = syncs[0]
    on_sync(sync)
    found = Verified(sync.provider)
    with translate_errors(target), open_for_reading(sync.provider, target, on_wait) as running:
        with sync.client:
            lists = ListInventory(sync)
        workflows, processors = stored_runs(running)
        quarantined = {
            (resource, id_)
            for resource, id_, resolved in lookup.columns_of(
                running, "quarantine", ("resource", "id", "resolved_at")
            )
            if resolved is None
        }
        found.listed = {name: len(rows) for name, rows in lists.rows.items()}
        _compare_lists(found, lists, [*workflows, *processors], quarantined)
        found.requests = sync.client.usage.requests
        if deep:
            now = sync.settings.privacy.mark
            if (then := lookup.stored_privacy(running) or now) != now:
                # every private cell would differ
                raise storage_mode_error(then, now, f"sources.{sync.provider}")
            sample = _sample(found, lists, workflows, processors, deep, seed)
            found.sampled = len(sample)
            with tempfile.TemporaryDirectory(prefix="docruns-") as folder:
                fresh = Target(target.dataset, Path(folder) / f"{target.dataset}_sample.duckdb")
                found.requests += _load_sample(make_source, fresh, lists, sample, running)
                with open_for_reading(sync.provider, fresh) as there:
                    _compare_cells(found, running, there)
    return found


def _compare_lists(
    found: Verified,
    lists: ListInventory,
    held: Sequence[InventoryRun],
    quarantined: set[tuple[str, str]],
) -> None:
    loaded_ids = {(lists.main if run.type is None else lists.of(run), run.id) for run in held}
    for run in held:
        name = lists.of(run)
        shown = lists.main if run.type is None else name
        if shown is None:
            continue
        label = f"{shown}/{run.id}"
        if run.id not in lists.rows[shown]:
            if name is not None and run.deleted_at is None:
                found.gone.append(label)
            continue
        listed = lists.rows[shown][run.id]
        if run.deleted_at is not None:
            found.returned.append(label)
        elif listed is None or run.updated_at is None:
            found.undated += 1
        elif listed > utc(run.updated_at):
            # a quarantined run that was loaded before keeps its old rows
            known = (shown, run.id) in quarantined
            (found.quarantined if known else found.stale).append(label)
    for name, rows in lists.rows.items():
        for run_id in rows:
            if (name, run_id) not in loaded_ids:
                known = (name, run_id) in quarantined
                (found.quarantined if known else found.missing).append(f"{name}/{run_id}")
    for ids in (found.missing, found.stale, found.gone, found.returned, found.quarantined):
        ids.sort()


def _sample(
    found: Verified,
    lists: ListInventory,
    workflows: Sequence[InventoryRun],
    processors: Sequence[InventoryRun],
    deep: int,
    seed: int | None,
) -> set[str]:
    """Ids of runs that a load would fetch on their own, and that are not known to differ."""
    known = {label.partition("/")[2] for label in (*found.stale, *found.returned)}
    known |= {label.partition("/")[2] for label in found.quarantined}
    ids = []
    for run in (*workflows, *processors):
        name = lists.of(run)
        if name is None or run.id not in lists.rows[name] or run.id in known:
            continue
        # Extend's processor runs come inside their workflow run, Plextera's are read by themselves
        alone = run.inside is None or name == "extractions"
        if alone and lists.feeds[name].detail is not None:
            ids.append(run.id)
    ids.sort()
    return set(random.Random(seed).sample(ids, min(deep, len(ids))))


def _load_sample(
    make_source: MakeSource,
    fresh: Target,
    lists: ListInventory,
    sample: set[str],
    running: Pipeline,
) -> int:
    """Load the sample and nothing else into a database of its own; the requests it took."""
    names = ("workflow_run_id", "workflow_step_position")
    parents = {
        row["id"]: ParentStep(row[names[0]], row[names[1]])
        for row in lookup.rows_of(running, PROCESSOR_RUNS, "id", sorted(sample))
        if row[names[0]] is not None
    }

    def only_sample(sync: Sync) -> None:
        # what has arrived is not fetched: so all other runs have
        for rows in lists.rows.values():
            sync.arrived.update(rows.keys() - sample)
        sync.parents.update(parents)

    def make(on_sync: Callable[[Sync], None]) -> Any:
        def prepare(sync: Sync) -> None:
            only_sample(sync)
            on_sync(sync)

        return make_source(prepare).with_resources(*_RUN_LISTS)

    return load_runs(make, fresh).requests


def _compare_cells(found: Verified, running: Pipeline, there: Pipeline) -> None:
    ids = {
        table.name: [id_ for (id_,) in lookup.columns_of(there, table.name, ("id",))]
        for table in (WORKFLOW_RUNS, PROCESSOR_RUNS)
    }
    for table in TABLES:
        by = table.set_of or "id"
        if table is SYNCS or by not in table.names or "resource" in table.names:
            continue
        if table.set_of is None and table.name not in ids:
            continue
        some = _ids_of(table, ids)
        ours, theirs = (_by_key(p, table, by, some) for p in (running, there))
        if not destinations.holds_nul(running):
            theirs = {key: _without_nul(table, row) for key, row in theirs.items()}
        found.rows_compared += len(theirs)
        for key in sorted(ours.keys() | theirs.keys(), key=str):
            found.cells += _differences(table, key, ours.get(key), theirs.get(key))


def _ids_of(table: Table, ids: Mapping[str, list[str]]) -> list[str]:
    """The runs whose rows in a table the sample replaces."""
    if table.set_of == "workflow_run_id" or table is WORKFLOW_RUNS:
        return ids["workflow_runs"]
    if table.set_of == "run_id":
        return [*ids["workflow_runs"], *ids["processor_runs"]]
    return ids["processor_runs"]


def _by_key(
    pipeline: Pipeline, table: Table, by: str, ids: Sequence[str]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = lookup.rows_of(pipeline, table, by, ids)
    return {tuple(row[name] for name in table.key): row for row in rows}


def _without_nul(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    spell = {column.name: NUL_SPELLED.get(column.type, str) for column in table.columns}
    return {
        name: spell[name](cell) if isinstance(cell, str) else cell for name, cell in row.items()
    }


def _differences(
    table: Table,
    key: tuple[Any, ...],
    ours: Mapping[str, Any] | None,
    theirs: Mapping[str, Any] | None,
) -> Iterator[Difference]:
    if ours is None or theirs is None:
        yield Difference(table.name, key, None, ours and "a row", theirs and "a row")
        return
    for column in BY_NAME[table.name].columns:
        if column.name in _NOT_COMPARED:
            continue
        one, other = (_plain(column, row[column.name]) for row in (ours, theirs))
        # only lists know these of a run inside another one, and lists are not read to their ends each time
        only_listed = column.name in _FROM_LISTS and one is None and ours.get("workflow_run_id")
        if one != other and not only_listed:
            yield Difference(table.name, key, column.name, one, other)


def _plain(column: Column, value: Any) -> Any:
    """A cell as a value that means the same wherever it was stored."""
    if value is None:
        return None
    if column.type == "json":
        return json.loads(value) if isinstance(value, (str, bytes)) else value
    if column.type == "timestamp":
        return utc(value)
    if column.type == "date" and isinstance(value, datetime):
        return value.date()
    if column.type == "double":
        return float(value)
    return value


def _short(value: Any) -> str:
    text = (
        value.isoformat() if isinstance(value, (datetime, date)) else json.dumps(value, default=str)
    )
    return text if len(text) <= 80 else f"{text[:77]}..."
