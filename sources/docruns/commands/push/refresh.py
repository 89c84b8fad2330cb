"""Fetches some loaded runs again and merges them: one package, loaded as any other, that changes no state.

    ListedRun, as a list or the database has it ──► GET ──► the provider's parser ──► Tables ──► merge
                                                      └──► on_run(id, body) ──► then `rows()`: rows of `pushes`

The answer to a run lacks its dates, and those of the runs inside it. The lists have them, or the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dlt

from ...core.batch import Batch
from ...core.codec import utc
from ...core.errors import ApiError
from ...core.privacy import KEEP
from ...core.tables import PROCESSOR_RUNS, PUSHES, Row
from ...providers.extend.updates import Failures
from ...providers.identity import check_storage_mode
from ...providers.resources import add_tables, make_source
from ...store import lookup
from ...store.arrow import UNFIT_ERRORS, Tables, to_tables
from ...store.lookup import Pipeline
from ...store.merges.hints import Hints
from ...sync.listed import ListedRun
from ...sync.lists import KnownRuns, Platform
from ...sync.sync import BATCH_ROWS

_SUMMARY_COLUMNS = {
    "processorId": "processor_id",
    "processorName": "processor_name",
    "processorVersionId": "processor_version_id",
}
_LISTED_COLUMNS = ("id", "status", "created_at", "updated_at", *_SUMMARY_COLUMNS.values())


def refresh_source(
    platform: Platform,
    running: Pipeline,
    runs: Sequence[ListedRun],
    on_run: Callable[[str, bytes], None],
    rows: Callable[[], Sequence[Row]],
) -> Any:
    """A source for one package: the runs, then the rows of `pushes`, which `rows()` makes when all runs are
    fetched.

    `on_run` gets the answer of each fetched run. A run that cannot be fetched now stays as it is in the
    database.
    """
    runs_are_done = False

    @dlt.resource(name="runs_again")
    def runs_again() -> Iterator[Tables]:
        nonlocal runs_are_done
        try:
            check_storage_mode(platform)
            if runs:
                yield from _fetch(platform, running, runs, on_run)
        finally:
            runs_are_done = True

    @dlt.resource(name="pushes")
    def pushes() -> Iterator[Tables | None]:
        while not runs_are_done:
            yield None
        batch = Batch()
        batch.extend(PUSHES, rows())
        yield to_tables(batch)

    hints = Hints()
    # private columns of `pushes` were rewritten before the journal was written
    pair = [add_tables(runs_again, platform.settings.privacy, hints), add_tables(pushes, KEEP, hints)]
    return make_source(platform.name, lambda: pair)


def _fetch(
    platform: Platform, running: Pipeline, runs: Sequence[ListedRun], on_run: Callable[[str, bytes], None]
) -> Iterator[Tables]:
    run_list, failures = platform.workflow_runs, Failures()
    assert run_list.detail is not None
    known = {run.id: run for run in runs}
    listed = KnownRuns(_listed_processor_runs(running, list(known)))
    pending: list[tuple[str, bytes, Batch]] = []
    size = 0
    with platform.client as client:
        for request, outcome in client.get_many(map(run_list.detail, known)):
            failures.count(outcome)
            if isinstance(outcome, ApiError):
                continue
            run = known[request.subject]
            try:
                batch = run_list.parse(outcome.body, run, listed).batch
            except (ApiError, ValueError, RecursionError):
                continue
            pending.append((run.id, outcome.body, batch))
            size += len(batch)
            if size >= BATCH_ROWS:
                yield from _to_tables(pending, on_run)
                pending, size = [], 0
    yield from _to_tables(pending, on_run)


def _to_tables(
    pending: Sequence[tuple[str, bytes, Batch]], on_run: Callable[[str, bytes], None]
) -> Iterator[Tables]:
    """The pending runs as tables, without runs whose rows do not fit a table."""
    runs = pending
    try:
        tables = to_tables(Batch.merge(batch for _, _, batch in runs))
    except UNFIT_ERRORS:
        runs = [run for run in pending if _fits(run[2])]
        tables = to_tables(Batch.merge(batch for _, _, batch in runs))
    for id_, body, _ in runs:
        on_run(id_, body)
    if len(tables):
        yield tables


def _fits(batch: Batch) -> bool:
    try:
        return len(to_tables(batch)) > 0
    except UNFIT_ERRORS:
        return False


def _listed_processor_runs(running: Pipeline, ids: Sequence[str]) -> dict[str, ListedRun]:
    """The stored processor runs of some workflow runs, as their lists showed them."""
    rows = lookup.rows_of(running, PROCESSOR_RUNS, "workflow_run_id", ids, _LISTED_COLUMNS)
    listed = {}
    for row in rows:
        summary = {key: row[name] for key, name in _SUMMARY_COLUMNS.items() if row[name] is not None}
        times = utc(row["created_at"]), utc(row["updated_at"])
        listed[row["id"]] = ListedRun(row["id"], row["status"], *times, summary=summary)
    return listed
