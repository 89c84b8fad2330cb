"""The dlt side that both providers share: the two run resources, and batches into tables with hints.

    workflow_runs    everything that comes with a workflow run
    processor_runs   those that came in no workflow run; waits until the workflow runs are through

A re-fetched run replaces its rows as a set: tables with `set_of` are merged by the run's id *and* by
their key, and every run sends one clearing row, so fewer rows now means fewer rows, none means none.
Merge key alone leaves the rows of a run that now has none and can double rows after a crash; primary
key alone leaves stale rows.
"""

from __future__ import annotations

import logging
import os
from collections import ChainMap
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import dlt
from dlt.extract.items_transform import YieldMapItem

from . import loaded
from .arrow import Tables
from .feed import Listed
from .model import CLEARED, Table
from .reading import Parent
from .sync import Feed, Sync

CONTRACT: Any = {"tables": "evolve", "columns": "evolve", "data_type": "freeze"}
"""A type that does not fit stops in extract, before anything is stored."""

_MERGE: Any = {"disposition": "merge", "strategy": "delete-insert"}


def run_resources(
    sync: Sync,
    main: Feed,
    feeds: Sequence[Feed],
    listed: ChainMap[str, Listed],
    nested: bool = False,
) -> list[Any]:
    """`workflow_runs` and `processor_runs`, fed by `main` and by `feeds`.

    `listed` gets the processor runs as their lists show them, before any workflow run is read;
    `sync.parents` the workflow runs that this load or the destination knows of due processor runs.
    `nested`: workflow runs may hang in others; `sync.links` gets those links that are known.
    """
    sync.feeds = (main, *feeds)
    client = sync.client

    def plan_processor_runs() -> None:
        saved = dlt.current.resource_state("processor_runs")
        for feed in feeds:
            sync.plan(feed, saved.setdefault(feed.name, {}))
        # nested runs lack their dates in some versions: the lists, walked first, know them
        listed.maps = [sync.summaries(feed.name) for feed in feeds]

    @dlt.resource(name="workflow_runs")
    def workflow_runs() -> Iterator[Tables]:
        selected = dlt.current.source().resources.selected
        sync.start_package(dlt.current.load_package_state()["load_id"])
        try:
            with client:
                if "processor_runs" in selected:
                    plan_processor_runs()
                known = partial(_known_workflow_runs, sync, nested)
                yield from sync.batches(main, dlt.current.resource_state(), known)
            if "processor_runs" not in selected:
                yield sync.row_of_package()
        finally:
            sync.workflows_done = True

    @dlt.resource(name="processor_runs")
    def processor_runs() -> Iterator[Tables | None]:
        selected = dlt.current.source().resources.selected
        sync.start_package(dlt.current.load_package_state()["load_id"])
        saved = dlt.current.resource_state()
        # a run that arrives inside its workflow run is not fetched on its own: those come first
        while "workflow_runs" in selected and not sync.workflows_done:
            yield None
        is_known = partial(_known_processor_runs, sync)
        with client:
            for feed in feeds:
                yield from sync.batches(feed, saved.setdefault(feed.name, {}), is_known)
        yield sync.row_of_package()

    return [add_tables(workflow_runs), add_tables(processor_runs)]


def _known_workflow_runs(sync: Sync, nested: bool, due: Sequence[Listed]) -> set[str]:
    """Due runs that the destination holds as they are listed: an interrupted load has brought them,
    or so many share one moment that the state does not remember them all."""
    pipeline, ids = dlt.current.pipeline(), [run.id for run in due]
    if nested:
        # a run that was once seen inside another one keeps its parent when it is read on its own
        for run_id, link in loaded.links(pipeline, ids).items():
            sync.links.setdefault(run_id, link)
    held = loaded.workflow_runs(pipeline, ids)
    return {run.id for run in due if run.id in held and _is_current(sync, held[run.id], run)}


def _known_processor_runs(sync: Sync, due: Sequence[Listed]) -> set[str]:
    """The same for processor runs; the workflow runs that the others came in are noted."""
    wanted = [run for run in due if run.id not in sync.arrived]
    found = loaded.processor_runs(dlt.current.pipeline(), [run.id for run in wanted])
    known = set()
    for run in wanted:
        held = found.get(run.id)
        if held is None:
            continue
        if held.workflow_run_id is not None:
            parent = Parent(held.workflow_run_id, held.workflow_step_position)
            sync.parents.setdefault(run.id, parent)
        if _is_current(sync, held, run):
            known.add(run.id)
    return known


def _is_current(sync: Sync, held: loaded.Loaded | loaded.LoadedRun, run: Listed) -> bool:
    if sync.settings.full or sync.is_failed(run.id) or not held.is_whole:
        return False
    if held.updated_at is None or run.updated_at is None:
        return False
    return held.updated_at == run.updated_at and held.status == run.status


class _ToTables(YieldMapItem):
    """Opens a batch into its tables after any limit: a limit counts batches, so runs stay whole."""

    placement_affinity = 1.2


def add_tables(resource: Any) -> Any:
    """Let a resource that yields `Tables` fill all of them."""
    _keep_quiet_about_json()
    # arrow tables get a _dlt_load_id only if dlt is told so before its first load
    os.environ.setdefault("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID", "true")
    hinted: set[tuple[str, str]] = set()

    def open_batch(batch: Tables) -> Iterator[Any]:
        load_id = dlt.current.load_package_state()["load_id"]
        for table, rows in batch:
            if (load_id, table.name) in hinted:
                yield dlt.mark.with_table_name(rows, table.name)
            else:
                # once a package: a copy of this resource may run the next one
                hinted.add((load_id, table.name))
                yield dlt.mark.with_hints(rows, _hints(table), create_table_variant=True)

    resource.add_step(_ToTables(open_batch))
    return resource


def _hints(table: Table) -> Any:
    columns: dict[str, Any] = {
        c.name: {"data_type": "json"} for c in table.columns if c.type == "json"
    }
    columns |= {c.name: {"dedup_sort": "desc"} for c in table.columns if c.decides}
    if table.set_of:
        columns[CLEARED] = {"data_type": "bool", "hard_delete": True}
    return dlt.mark.make_hints(
        table_name=table.name,
        write_disposition=_MERGE,
        primary_key=list(table.key),
        merge_key=table.set_of,
        columns=columns,
    )


def _keep_quiet_about_json() -> None:
    """JSON travels as Arrow strings, which is meant; dlt would warn of it for every batch."""
    logger = logging.getLogger("dlt")
    if not any(isinstance(f, _JsonHints) for f in logger.filters):
        logger.addFilter(_JsonHints())


class _JsonHints(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "several column hints were different" not in record.getMessage()
