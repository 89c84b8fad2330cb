"""Some loaded runs read again and merged, beside the lists: one package, by the way of a load, which moves no state.

    Listed, as a list or the database knows it ──► GET ──► the provider's reader ──► Tables ──► merge
                                                       └──► done(id, body) ──► then `rows()`: rows of `pushes`

A run's answer lacks its dates, and those of what came inside it: the lists know them, or what is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dlt

from ...core.batch import Batch
from ...core.codec import utc
from ...core.errors import ApiError
from ...core.privacy import KEEP
from ...core.tables import PROCESSOR_RUNS, PUSHES, Row
from ...providers.extend.updates import Failures
from ...providers.identity import check_storage_mode
from ...providers.resources import add_tables
from ...store import lookup
from ...store.arrow import Tables, to_tables
from ...store.destinations import CONTRACT, Hints
from ...store.lookup import Pipeline
from ...sync.plan import ListedRun
from ...sync.sync import BATCH_ROWS, Sync

_OF_THE_LISTS = {
    "processorId": "processor_id",
    "processorName": "processor_name",
    "processorVersionId": "processor_version_id",
}
_INSIDE = ("id", "status", "created_at", "updated_at", *_OF_THE_LISTS.values())


def package(
    sync: Sync,
    running: Pipeline,
    runs: Sequence[ListedRun],
    done: Callable[[str, bytes], None],
    rows: Callable[[], Sequence[Row]],
) -> Any:
    """A source for one package: the runs, then the rows of `pushes`, which `rows()` makes once all runs are read.

    `done` gets the answer of each run that was read. One that cannot be read now stays as it is loaded.
    """
    is_through = False

    @dlt.resource(name="runs_again")
    def runs_again() -> Iterator[Tables]:
        nonlocal is_through
        try:
            check_storage_mode(sync)
            if runs:
                yield from _read(sync, running, runs, done)
        finally:
            is_through = True

    @dlt.resource(name="pushes")
    def pushes() -> Iterator[Tables | None]:
        while not is_through:
            yield None
        batch = Batch()
        batch.extend(PUSHES, rows())
        yield to_tables(batch)

    def both() -> Any:
        # what is written of a push was made private before it was written first
        hints = Hints()
        return (
            add_tables(runs_again, sync.settings.privacy, hints),
            add_tables(pushes, KEEP, hints),
        )

    return dlt.source(both, name=sync.provider, section=sync.provider, schema_contract=CONTRACT)()


def _read(
    sync: Sync, running: Pipeline, runs: Sequence[ListedRun], done: Callable[[str, bytes], None]
) -> Iterator[Tables]:
    feed, failures = sync.feeds[0], Failures()
    assert feed.detail is not None
    known = {run.id: run for run in runs}
    sync.listed.maps = [_inside(running, list(known))]
    pending: list[tuple[str, bytes, Batch]] = []
    size = 0
    with sync.client as client:
        for request, outcome in client.get_many(map(feed.detail, known)):
            failures.count(outcome if isinstance(outcome, ApiError) else None)
            if isinstance(outcome, ApiError):
                continue
            run = known[request.subject]
            try:
                batch = feed.read(outcome.body, run).batch
            except (ApiError, ValueError, RecursionError):
                continue
            pending.append((run.id, outcome.body, batch))
            size += len(batch)
            if size >= BATCH_ROWS:
                yield from _handed_out(pending, done)
                pending, size = [], 0
    yield from _handed_out(pending, done)


def _handed_out(
    pending: Sequence[tuple[str, bytes, Batch]], done: Callable[[str, bytes], None]
) -> Iterator[Tables]:
    """The pending runs as tables, without one whose rows no table takes."""
    some = list(pending)
    try:
        tables = _together(some)
    except _NO_CELL:
        some = [one for one in pending if _fits(one)]
        tables = _together(some)
    for id_, body, _ in some:
        done(id_, body)
    if len(tables):
        yield tables


# what pyarrow raises where a value does not fit its column
_NO_CELL = (ValueError, TypeError, ArithmeticError)


def _together(some: Sequence[tuple[str, bytes, Batch]]) -> Tables:
    whole = Batch()
    for _, _, batch in some:
        whole.update(batch)
    return to_tables(whole)


def _fits(one: tuple[str, bytes, Batch]) -> bool:
    try:
        return len(_together([one])) > 0
    except _NO_CELL:
        return False


def _inside(running: Pipeline, ids: Sequence[str]) -> dict[str, ListedRun]:
    """The processor runs that are loaded with some workflow runs, as their lists once showed them."""
    rows = lookup.rows_of(running, PROCESSOR_RUNS, "workflow_run_id", ids, _INSIDE)
    return {
        row["id"]: ListedRun(
            row["id"],
            row["status"],
            utc(row["created_at"]),
            utc(row["updated_at"]),
            summary=_texts(row),
        )
        for row in rows
    }


def _texts(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: row[name] for key, name in _OF_THE_LISTS.items()}
    return {key: text for key, text in found.items() if text is not None}
