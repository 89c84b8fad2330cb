"""What is wrong with a loaded DuckDB file and with what loads it, each finding with what to do.

    key ── one request a platform          last load ── complete? how old?     rows ── twice, or half loaded
    disk ── free space                     left out, quarantine by reason      runs that do not become final
    locks ── the process at work           versions

A finding has the exit code that it is worth: 4 where the key is refused, 1 where somebody must act, 3 where runs are
missing, 0 where all is well or it is only to be known. The exit code of all is the gravest of these.
"""

from __future__ import annotations

import platform as machine
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...core.errors import LACKS_RUNS, DocrunsError, LockedError
from ...core.tables import TABLES
from ...models.reader import datasets_of
from ...store.duckdb.file import open_database
from ...store.failures import translate_errors
from ...store.target import LockHolder, Target, how_to_ask, lock_holders, working_folder
from ..calls.connect import connect_platform
from .check import PATIENCE_S
from .status import Tables, report

FREE_BYTES = 1_000_000_000
"""Less free space than this is a finding: a load spills to the disk, and a merge writes a log."""

_WAIT_S = 5.0
_GRAVITY = (4, 1, LACKS_RUNS)
_REASONS = 10
"""Reasons for quarantine that are named; all runs are counted."""

_REASONS_SQL = """
SELECT resource, error, replace(coalesce(message, ''), id, '…') AS reason, count(*), min(first_seen_at)
FROM {table} WHERE resolved_at IS NULL GROUP BY ALL ORDER BY 4 DESC, 1, 2, 3
"""


@dataclass(frozen=True)
class Finding:
    """One line of the page. `dataset` is empty where it is about the machine; `advice` where there is nothing to do."""

    dataset: str
    topic: str
    exit_code: int
    text: str
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """What counts as too old: the last load, and runs that are not final."""

    load_age: timedelta = timedelta(days=1)
    unfinished: timedelta = timedelta(days=30)


def exit_code(findings: list[Finding]) -> int:
    """The gravest of the findings' codes."""
    codes = {finding.exit_code for finding in findings}
    return next((code for code in _GRAVITY if code in codes), 0)


def examine(database: Path, limits: Limits) -> list[Finding]:
    """All findings about a DuckDB file. One request goes to each platform that the file has a dataset of.

    While a load has the file open, there are only findings about the machine.
    """
    at_work = lock_holders(database)
    found = [*_versions(), *_disk(database), *_locks(at_work, limits)]
    try:
        with (
            translate_errors(database),
            open_database(database, read_only=True, wait_s=0 if at_work else _WAIT_S) as connection,
        ):
            for dataset in datasets_of(connection):
                tables = Tables(connection, dataset)
                if tables.are_views:
                    text = "it holds views of a lake, and no rows"
                    found.append(Finding(dataset, "rows", 0, text, how_to_ask(dataset)))
                    continue
                found += _of_dataset(tables, dataset, report(connection, dataset), limits)
    except LockedError as error:
        if not at_work:
            found.append(Finding("", "locks", 1, str(error), "A load waits 30 seconds for it, then fails."))
    return found


def _versions() -> Iterator[Finding]:
    names = ("docruns", "dlt", "duckdb")
    said = ", ".join(f"{name} {version(name)}" for name in names)
    yield Finding("", "versions", 0, f"{said}, Python {machine.python_version()}")


def _disk(database: Path) -> Iterator[Finding]:
    size = f"the database, of {database.stat().st_size / 1e9:,.3f} GB"
    places = {
        f"beside {size}": database.absolute().parent,
        "for the working folder": working_folder(Target("", database)).parent,
    }
    for name, place in places.items():
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free
        text = f"{free / 1e9:,.1f} GB are free {name}"
        low = free < FREE_BYTES
        advice = f"Free some space in {there}, or move the database or DLT_DATA_DIR." if low else ""
        yield Finding("", "disk", int(low), text, advice)


def _locks(at_work: Mapping[str, LockHolder], limits: Limits) -> Iterator[Finding]:
    for dataset, holder in sorted(at_work.items()):
        age = datetime.now(UTC) - datetime.fromisoformat(holder.since)
        hangs = age > limits.load_age
        advice = f"It may hang: look at process {holder.pid}." if hangs else ""
        yield Finding(dataset, "locks", int(hangs), f"{holder} is at work", advice)


def _of_dataset(tables: Tables, dataset: str, state: Mapping[str, Any], limits: Limits) -> Iterator[Finding]:
    provider = str(state["provider"])
    yield _key(dataset, provider)
    load = f"docruns load {provider}" + ("" if dataset == provider else f" --dataset {dataset}")
    yield from _last_load(tables, dataset, state, limits, load)
    yield from _quarantine(tables, dataset)
    yield from _unfinished(tables, dataset, limits)
    yield from _rows(tables, dataset, state, load)


def _key(dataset: str, provider: str) -> Finding:
    """Whether the platform accepts the key: the first page of the workflow runs."""
    try:
        platform = connect_platform(provider, {})
        platform.client.hurry(PATIENCE_S)
        with platform.client as client:
            next(filter(None, platform.workflow_runs.pages(None)), None)
    except DocrunsError as error:
        return Finding(dataset, "key", error.exit_code if error.exit_code == 4 else 1, str(error))
    return Finding(dataset, "key", 0, f"{client.base_url} accepts the key")


def _last_load(
    tables: Tables, dataset: str, state: Mapping[str, Any], limits: Limits, load: str
) -> Iterator[Finding]:
    at, complete = state["last_load_at"], state["complete"]
    if at is None:
        yield Finding(dataset, "last load", 1, "no load has committed anything", f"Run `{load}`.")
        return
    age = datetime.now(UTC) - at
    text = f"{_span(age)} ago, {'complete' if complete else 'not complete'}, watermark {state['watermark']}"
    if age > limits.load_age:
        yield Finding(
            dataset,
            "last load",
            1,
            text,
            f"It is older than {_span(limits.load_age)}: is the job still scheduled?",
        )
    else:
        advice = "" if complete else f"Run `{load}`; its summary says what is missing."
        yield Finding(dataset, "last load", 0 if complete else LACKS_RUNS, text, advice)
    left_out, incomplete = tables.first_row(
        "syncs",
        "SELECT left_out, incomplete_lists FROM {table} ORDER BY finished_at DESC LIMIT 1",
        default=(None, None),
    )
    if left_out:
        advice = "They answered 403 or 404, or failed. `docruns check` says why; each load tries them again."
        yield Finding(dataset, "left out", 0, f"lists: {left_out}", advice)
    if incomplete:
        advice = "The next load reads the whole list again. If it says the same, ask the platform."
        yield Finding(dataset, "left out", LACKS_RUNS, f"lists that may lack runs: {incomplete}", advice)


def _quarantine(tables: Tables, dataset: str) -> Iterator[Finding]:
    groups = tables.rows("quarantine", _REASONS_SQL)
    advice = "Each load tries them again. Where the reason stays, tell the platform or docruns."
    for resource, error, reason, runs, since in groups[:_REASONS]:
        text = f"{runs:,} of {resource} since {since:%Y-%m-%d}: {error}: {reason}".rstrip(": ")
        yield Finding(dataset, "quarantine", LACKS_RUNS, text, advice)
    if rest := sum(runs for *_, runs, _ in groups[_REASONS:]):
        yield Finding(dataset, "quarantine", LACKS_RUNS, f"{rest:,} for other reasons", advice)
    if not groups:
        yield Finding(dataset, "quarantine", 0, "empty")


def _unfinished(tables: Tables, dataset: str, limits: Limits) -> Iterator[Finding]:
    days = limits.unfinished / timedelta(days=1)
    old = tables.count(
        "workflow_runs",
        "WHERE NOT is_final AND deleted_at IS NULL AND "
        f"coalesce(updated_at, created_at) < now() - to_seconds({days * 86_400})",
    )
    text = f"{old:,} workflow runs have not become final for {days:g} days"
    advice = "Finish or reject them on the platform. docruns no longer looks for them after `recheck_for`."
    yield Finding(dataset, "unfinished", 0, text, advice if old else "")


def _rows(tables: Tables, dataset: str, state: Mapping[str, Any], load: str) -> Iterator[Finding]:
    doubled = {table.name: number for table in TABLES if (number := tables.doubled(table.name, table.key))}
    if doubled:
        said = ", ".join(f"{number:,} in {name}" for name, number in doubled.items())
        yield Finding(dataset, "rows", 1, f"keys with more than one row: {said}", f"Run `{load} --full`.")
    if torn := state["half_loaded_packages"]:
        text = f"{torn:,} packages are half loaded, by loads that were killed"
        yield Finding(dataset, "rows", LACKS_RUNS, text, f"Run `{load}`, without --since and --until.")
    if older := state["older_rows"]:
        text = f"{older:,} runs have rows of an older version of docruns"
        yield Finding(dataset, "rows", 0, text, f"`{load} --full` reads them again.")
    if not (doubled or torn or older):
        yield Finding(dataset, "rows", 0, "each key has one row, and each package is whole")


def _span(age: timedelta) -> str:
    """3 days, 5 h or 12 min."""
    minutes = int(age.total_seconds() // 60)
    if minutes >= 2880:
        return f"{minutes // 1440:,} days"
    return f"{minutes // 60} h" if minutes >= 120 else f"{minutes} min"
