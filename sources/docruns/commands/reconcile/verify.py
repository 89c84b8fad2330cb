"""Compares the database with the platform: ids and last changes of all runs, and every cell of a sample.
Counts the rows of each key: a row that is there twice agrees with the platform twice.

    lists ──────────────┐
                        ├──► missing, stale, gone, returned, quarantined
    ids in the database ┘
    keys of every table ───► doubled
    N runs, loaded again into a database of their own ──► each row beside the stored row

The lists cost one request a page, the sample one request a run. The sample goes through the sources, parsers
and merges of a normal load, into a temporary file. So each difference is in the data, not in two ways of
reading it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from ...core.codec import utc
from ...core.errors import LACKS_RUNS
from ...core.flatten.values import NUL_SPELLED
from ...core.parsed import NestedLink, ParentStep
from ...core.tables import PROCESSOR_RUNS, SYNCS, TABLES, WORKFLOW_RUNS, Column, Table
from ...providers.identity import check_stored_identity, require_runs
from ...store import lookup
from ...store.destinations import traits_of
from ...store.failures import translate_errors
from ...store.lookup import Pipeline
from ...store.pipeline import open_for_reading, temporary_folder
from ...store.process.environment import private_files
from ...store.target import Target, require_database
from ...sync.inventory import InventoryRun, ListInventory, check_stored_privacy, quarantined_runs, stored_runs
from ...sync.lists import Platform, Sample
from ...sync.metrics import Progress
from ..load import load_runs

NAMED_DIFFERENCES = 20
"""Differences of a kind that are named; all are counted."""

KIND_TEXT = {
    "missing": "runs are listed and not in the database (`docruns load` loads new ones, and "
    "`docruns load --full` all of them)",
    "stale": "runs have changed since they were loaded (`docruns load` loads the changes)",
    "gone": "runs are in the database and in no list (`docruns sweep` marks deleted ones)",
    "returned": "runs are marked as deleted and listed again (`docruns sweep` removes the marks)",
    "doubled": "keys have more than one row (`docruns load --full` replaces the rows of runs; where others are "
    "left, load into a new dataset)",
    "incomplete_lists": "lists failed, or may have runs that they did not show",
    "cells": "rows or cells differ",
}
"""What each kind of difference means."""

_NOT_COMPARED = {"deleted_at", "_cleared"}
_FROM_LISTS = ("created_at", "updated_at")
_LINKS = {*NestedLink._fields}


class Difference(NamedTuple):
    """A cell or a row that differs. `column` is None if a whole row is missing on one side. `platform` is what the
    platform has, or the `other` database."""

    table: str
    key: tuple[Any, ...]
    column: str | None
    database: Any
    platform: Any
    other: str = "platform"

    def __str__(self) -> str:
        where = f"{self.table} {' '.join(map(str, self.key))}"
        if self.column is None:
            return f"{where}: only in the {'database' if self.platform is None else self.other}"
        return (
            f"{where} {self.column}: database {_short(self.database)}, {self.other} {_short(self.platform)}"
        )


class DoubledKey(NamedTuple):
    """A key that more than one row has."""

    table: str
    key: tuple[Any, ...]
    rows: int

    def __str__(self) -> str:
        return f"{self.table} {' '.join(map(str, self.key))}: {self.rows:,} rows"


@dataclass
class VerifyResult:
    """The differences, by kind: runs as `list/id`, keys as `DoubledKey`, cells as `Difference`.

    `missing`: listed and not loaded. `stale`: listed with a later change. `gone`: loaded and in no list.
    `returned`: marked as deleted and listed. `doubled`: keys of any table. `incomplete_lists`: lists that could
    not be read, or whose runs do not add up, with the reason. `cells`: of the sample. `quarantined` runs are
    missing or stale for a known reason and do not count as differences. `undated` runs have no date to compare.
    """

    provider: str
    listed: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    doubled: list[DoubledKey] = field(default_factory=list)
    incomplete_lists: list[str] = field(default_factory=list)
    cells: list[Difference] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    undated: int = 0
    sampled: int = 0
    rows_compared: int = 0
    requests: int = 0

    @property
    def kinds(self) -> dict[str, Sequence[Any]]:
        """The differences by kind."""
        return {kind: getattr(self, kind) for kind in KIND_TEXT}

    @property
    def differs(self) -> bool:
        """There is a difference; quarantined runs are none."""
        return any(self.kinds.values())

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0, 1 where there is a difference, or 3 where runs are in quarantine."""
        return 1 if self.differs else LACKS_RUNS if self.quarantined else 0

    def as_dict(self) -> dict[str, Any]:
        """As JSON values: the count of each kind, and its first differences."""
        return {
            "provider": self.provider,
            "equal": not self.differs,
            "listed": self.listed,
            **{kind: len(differences) for kind, differences in self.kinds.items()},
            "quarantined": len(self.quarantined),
            "undated": self.undated,
            "sampled": self.sampled,
            "rows_compared": self.rows_compared,
            "requests": self.requests,
            "first": {
                kind: [str(difference) for difference in differences[:NAMED_DIFFERENCES]]
                for kind, differences in self.kinds.items()
                if differences
            },
        }


@private_files()
def verify_runs(
    platform: Platform,
    target: Target,
    progress: Progress | None = None,
    *,
    deep: int = 0,
    seed: int | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> VerifyResult:
    """Compare a target with its platform, and `deep` of its runs, which `seed` picks, cell by cell.

    Changes nothing. What changes on the platform after the load is a difference, so verify right after it.
    """
    require_database(target)
    result = VerifyResult(platform.name)
    before = platform.client.usage.requests
    with translate_errors(target), open_for_reading(platform.name, target, on_wait) as running:
        require_runs(platform.name, running, str(target))
        check_stored_identity(platform, running)
        with platform.client:
            # a load that was shown too little must not be compared with what it was shown
            lists = ListInventory(platform, progress, is_check=True)
        result.incomplete_lists = [f"{name}: {doubt}" for name, doubt in lists.incomplete_lists.items()]
        result.listed = {name: len(rows) for name, rows in lists.rows.items()}
        _compare_lists(result, lists, stored_runs(running), quarantined_runs(running))
        result.doubled = [
            DoubledKey(t.name, *each) for t in TABLES for each in lookup.doubled_keys(running, t)
        ]
        if deep:
            # otherwise each private cell would differ
            check_stored_privacy(platform, running)
            sample = _choose_sample(result, lists, stored_runs(running), deep, seed)
            result.sampled = len(sample)
            with temporary_folder(target) as folder:
                database = folder / f"{target.dataset}_sample.duckdb"
                fresh = Target(target.dataset, database, work=folder / "work")
                _load_sample(platform, fresh, sample, running)
                with open_for_reading(platform.name, fresh) as fresh_pipeline:
                    _compare_cells(result, running, fresh_pipeline)
    result.requests = platform.client.usage.requests - before
    return result


def _compare_lists(
    result: VerifyResult,
    lists: ListInventory,
    stored: Iterable[InventoryRun],
    quarantined: set[tuple[str, str]],
) -> None:
    """Compare the stored runs with the lists, both ways. No more is held of a run than its id and its time."""
    seen = {name: rows.marks() for name, rows in lists.rows.items()}
    for run in stored:
        name = _list_name(run, lists)
        if name is None:
            continue
        if (number := lists.rows[name].number(run.id)) is not None:
            seen[name][number] = True
        kind = _compare_with_list(run, lists, name, number)
        if kind == "undated":
            result.undated += 1
        elif kind is not None:
            # a quarantined run that was loaded before keeps its old rows
            is_quarantined = kind == "stale" and (name, run.id) in quarantined
            runs = result.quarantined if is_quarantined else getattr(result, kind)
            runs.append(f"{name}/{run.id}")
    for name, rows in lists.rows.items():
        for number, run_id in rows.numbered():
            if not seen[name][number]:
                runs = result.quarantined if (name, run_id) in quarantined else result.missing
                runs.append(f"{name}/{run_id}")
    for runs in (result.missing, result.stale, result.gone, result.returned, result.quarantined):
        runs.sort()


def _list_name(run: InventoryRun, lists: ListInventory) -> str | None:
    """The list that a run is compared with; nested workflow runs are compared with the main list."""
    return lists.main if run.type is None else lists.of(run)


def _compare_with_list(run: InventoryRun, lists: ListInventory, name: str, number: int | None) -> str | None:
    """How a stored run differs from the row of its list: gone, returned, undated or stale; None if equal."""
    if number is None:
        must_be_listed = lists.of(run) is not None and run.deleted_at is None
        return "gone" if must_be_listed else None
    if run.deleted_at is not None:
        return "returned"
    listed_change = lists.rows[name].at(number)
    if listed_change is None or run.updated_at is None:
        return "undated"
    return "stale" if listed_change > utc(run.updated_at) else None


def _choose_sample(
    result: VerifyResult, lists: ListInventory, stored: Iterable[InventoryRun], deep: int, seed: int | None
) -> set[str]:
    """Ids of runs that a load would fetch by themselves, and that are not known to differ."""
    known = {label.partition("/")[2] for label in (*result.stale, *result.returned, *result.quarantined)}
    ids = []
    for run in stored:
        name = lists.of(run)
        if name is None or run.id not in lists.rows[name] or run.id in known:
            continue
        # Extend's processor runs come inside their workflow run, Plextera's are fetched by themselves
        is_fetched = run.inside is None or name == "extractions"
        if is_fetched and lists.lists[name].detail is not None:
            ids.append(run.id)
    ids.sort()
    return set(random.Random(seed).sample(ids, min(deep, len(ids))))


def _load_sample(platform: Platform, fresh: Target, ids: set[str], running: Pipeline) -> None:
    """Load the sample and nothing else into a database of its own."""
    parents = {
        row["id"]: ParentStep(row["workflow_run_id"], row["workflow_step_position"])
        for row in lookup.rows_of(running, PROCESSOR_RUNS, "id", sorted(ids))
        if row["workflow_run_id"] is not None
    }
    load_runs(platform, fresh, sample=Sample(frozenset(ids), parents))


def _compare_cells(result: VerifyResult, running: Pipeline, fresh: Pipeline) -> None:
    ids = {
        table.name: [id_ for (id_,) in lookup.columns_of(fresh, table.name, ("id",))]
        for table in (WORKFLOW_RUNS, PROCESSOR_RUNS)
    }
    for table in TABLES:
        by = table.set_of or "id"
        if table is SYNCS or by not in table.names or "resource" in table.names:
            continue
        if table.set_of is None and table.name not in ids:
            continue
        run_ids = _ids_of(table, ids)
        ours, theirs = (_by_key(p, table, by, run_ids) for p in (running, fresh))
        if not traits_of(running).holds_nul:
            theirs = {key: without_nul(table, row) for key, row in theirs.items()}
        result.rows_compared += len(theirs)
        for key in sorted(ours.keys() | theirs.keys(), key=str):
            result.cells += (
                each
                for each in _differences(table, key, ours.get(key), theirs.get(key))
                if not _is_nested_elsewhere(each, ours.get(key), ids[WORKFLOW_RUNS.name])
            )


def _is_nested_elsewhere(each: Difference, ours: Mapping[str, Any] | None, sampled: Sequence[str]) -> bool:
    """The difference is a link to a parent that is not in the sample: a run may be nested in several."""
    parent = (ours or {}).get("parent_run_id")
    return each.table == WORKFLOW_RUNS.name and each.column in _LINKS and parent not in (None, *sampled)


def _ids_of(table: Table, ids: Mapping[str, list[str]]) -> list[str]:
    """The sampled runs that have rows in a table."""
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


def without_nul(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """The row as a database stores it whose text holds no NUL."""
    spell = {column.name: NUL_SPELLED.get(column.type, str) for column in table.columns}
    return {name: spell[name](cell) if isinstance(cell, str) else cell for name, cell in row.items()}


def _differences(
    table: Table, key: tuple[Any, ...], ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None
) -> Iterator[Difference]:
    if ours is None or theirs is None:
        yield Difference(table.name, key, None, ours and "a row", theirs and "a row")
        return
    for column in table.columns:
        if column.name in _NOT_COMPARED or column.name not in ours:
            # an earlier version of docruns has made the table, without this column
            continue
        stored, fresh = (plain(column, row[column.name]) for row in (ours, theirs))
        # for a run inside another one only lists give these, and a load does not read lists to their ends
        only_listed = column.name in _FROM_LISTS and stored is None and ours.get("workflow_run_id")
        if stored != fresh and not only_listed:
            yield Difference(table.name, key, column.name, stored, fresh)


def plain(column: Column, value: Any) -> Any:
    """A cell as a value that does not depend on the destination."""
    if value is None:
        return None
    if column.type == "json":
        return json.loads(value) if isinstance(value, (str, bytes)) else value
    if column.type == "timestamp":
        return utc(value)
    if column.type == "date":
        if isinstance(value, str):
            return date.fromisoformat(value)
        return value.date() if isinstance(value, datetime) else value
    if column.type == "bool":
        return bool(value)
    if column.type == "double":
        return float(value)
    return value


def _short(value: Any) -> str:
    text = value.isoformat() if isinstance(value, (datetime, date)) else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
